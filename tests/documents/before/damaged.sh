# A disk that lost a bit of what was durable, and the gateway that met it: it ends with 74.
. tests/documents/before/a-gateway.sh
cp -a "$JOURNAL" "$OTHER"
printf '\377' | dd of="$JOURNAL/0000000002.segment" bs=1 seek=9000 conv=notrunc status=none
code=0
fps-gateway run --config "$PAIR" --config "$NODE" || code=$?
[ "$code" = 74 ]
