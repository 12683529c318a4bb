# The paths of a gateway's configuration and journal; the journal is one that was written when its format was new.
if [ ! -e var/made ]; then
    mkdir -p var/made
    .venv/bin/fps-gateway config example pair >var/pair-sip.toml
    .venv/bin/fps-gateway config example node >var/sip-a.toml
    . tests/documents/before/edited.sh
    mv var/pair-sip.toml var/sip-a.toml var/made
    PATH=$PWD/.venv/bin:$PATH
fi
PAIR=var/pair-sip.toml
NODE=var/sip-a.toml
JOURNAL=$PWD/var/journal
KEPT=$PWD/var/kept
OTHER=$PWD/var/other
rm -rf "$JOURNAL" "$KEPT" "$OTHER"
cp var/made/*.toml var
mkdir -m 700 "$JOURNAL"
for packed in tests/journal/formats/2/*.gz; do
    file=$(basename "$packed" .gz)
    gunzip <"$packed" >"$JOURNAL/$file"
done
