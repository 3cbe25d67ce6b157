"""The front page: every part with its health, every data set with its champion, and where to look next."""
