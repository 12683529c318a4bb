"""The parts of a world as this machine has them: how one is started, watched and ended, and spoken to over HTTP."""
