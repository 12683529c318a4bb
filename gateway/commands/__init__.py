"""What a person types: `fps-gateway COMMAND`, one file each. Each says what it found, and ends with an exit code.

* `config` (with `here`: what this machine lacks), `drain`, `hsm`, `decode`, `seal_check`.
* `journal`: verify, compare, show, tail, stat, forget; `init` begins the first one.
* `diagram`: the law as a picture, for the documents.

`run` is no command of this room: it is `__main__` and `daemon`.
"""
