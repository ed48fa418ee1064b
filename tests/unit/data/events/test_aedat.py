import struct

import pytest

from rbp_engine.data.events.aedat import read_aedat
from rbp_engine.errors import DataError

HEADER = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# 5 > 3 #\r\n"


def event(x: int, y: int, on: bool, time: int) -> bytes:
    return struct.pack(">II", x << 1 | y << 8 | (not on), time)


def test_the_fields_of_an_event_come_from_its_big_endian_words(tmp_path):
    path = tmp_path / "a.aedat"
    path.write_bytes(HEADER + event(127, 0, True, 7) + event(3, 127, False, 2**32 - 1))
    times, x, y, polarity = read_aedat(path)
    assert times.tolist() == [7, 2**32 - 1]
    assert (x.tolist(), y.tolist(), polarity.tolist()) == ([127, 3], [0, 127], [1, 0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + event(1, 2, True, 3)[:-1], "is truncated"),
        (HEADER, "is truncated"),
        (b"#!AER-DAT2.0", "ends within its header"),
        (b"PK\x03\x04 a zip", "has no AEDAT header"),
        (b"", "has no AEDAT header"),
        (b"#!AER-DAT4.0\r\n....", r"is #!AER-DAT4\.0, not AEDAT 2\.0: put the original"),
    ],
)
def test_another_format_and_a_truncated_file_are_named_with_the_remedy(tmp_path, content, message):
    path = tmp_path / "a.aedat"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_aedat(path)
    assert str(path) in str(caught.value)
