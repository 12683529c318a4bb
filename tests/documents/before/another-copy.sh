# Another server's copy is whole.
[ -d "$OTHER" ]
