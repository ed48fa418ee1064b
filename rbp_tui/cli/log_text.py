"""A log as it comes, in parts: its colours are kept, and nothing else that a terminal would obey."""

import codecs

from rbp_engine.printable import Lines, keep_colours, unfinished


class LogText:
    """Filters a stream of bytes; what a part ends with that means something only with the next waits for that."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""

    def feed(self, chunk: bytes) -> Lines:
        """The text of the next part, as far as it can be shown."""
        text = self._rest + self._decoder.decode(chunk)
        kept = len(text) - unfinished(text)
        self._rest = text[kept:]
        return keep_colours(text[:kept])

    def end(self) -> Lines:
        """What is left."""
        rest, self._rest = self._rest, ""
        return keep_colours(rest + self._decoder.decode(b"", final=True))
