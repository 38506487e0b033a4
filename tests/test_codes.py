"""What a terminal would obey in texts of others."""

import io

from ollmlx.codes import shown, write

CLIPBOARD, UP, CSI = "\x1b]52;c;ZXZpbA==\x07", "\x1b[2A\x1b[2J", "\N{CONTROL SEQUENCE INTRODUCER}2J"


def test_codes_that_do_more_than_colour_a_line_are_shown():
    assert shown(f"a{CLIPBOARD}{UP}{CSI}b\x7f") == "a␛]52;c;ZXZpbA==␇␛[2A␛[2J␡2Jb␡"
    ours = "\x1b[38;5;245mé\t你\r\n\x1b[0m\x1b[4D\x1b[K"
    assert shown(ours) == ours


def test_what_is_no_terminal_gets_every_byte():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, text in ((io.StringIO(), CLIPBOARD), (Terminal(), shown(CLIPBOARD))):
        write(stream, CLIPBOARD)
        assert stream.getvalue() == text
