# No copy was whole, and a week has passed.
rm -r "$JOURNAL" "$OTHER"
cp -a "$KEPT/journal" "$JOURNAL"
