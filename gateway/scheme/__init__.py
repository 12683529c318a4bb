"""What the scheme changes for us while we run: keys and permissions. Pure.

* `keyring`: the story of keys that change in band; `ring`: which keys there are, and what for.
* `news`: the story of the scheme's news; `permits`: what it lets us do and forbids; `hubclock`: when it was sent.
"""
