# Somebody edited it, in a hurry.
. tests/documents/before/a-gateway.sh
echo 'nmae = 1' >>var/sip-a.toml
