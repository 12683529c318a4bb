# What a person edits in the examples: the group, the hosts, where the journal lies, the tokens, as provision printed them, and
# who may act.
python3 - "$(.venv/bin/python -m hsm provision --dir var/hsm)" <<'EDIT'
import os
import re
import sys
from pathlib import Path

tables = sys.argv[1][sys.argv[1].index("[[node.token]]") :] + "\n"
pair, node = Path("var/pair-sip.toml"), Path("var/sip-a.toml")
pair.write_text(re.sub('(?m)^group = .*', 'group = "sip"', pair.read_text()))
text = re.sub(r"(?s)\[\[node\.token\]\].*(?=# Where and how the journal)", lambda _: tables, node.read_text())
text = re.sub('host = "hub-.\\.example"', 'host = "127.0.0.1"', text)
text = text.replace("port = 8301", "port = 8302").replace("port = 8302", "port = 8301", 1)
text = text.replace("https://processor.example/fps", "http://127.0.0.1:8080")
text = text.replace('#socket = ""', 'socket = "var/acts.sock"').replace("#[[node.actors]]", "[[node.actors]]")
for line, now in ('name = "anna"', 'name = "anna"'), ('roles = ["operate"]',) * 2, ('user = "anna"', f'user = "{os.getuid()}"'):
    text = text.replace(f"#{line}", now, 1)
node.write_text(text.replace("/var/lib/fps-gateway/sip/journal", str(Path("var/journal").absolute())))
EDIT
