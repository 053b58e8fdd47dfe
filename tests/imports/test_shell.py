"""Shell scripts, read without running them."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1zero.errors import UserError
from r1zero.imports.shell import Command, swift_command


def read(text: str) -> Command:
    return swift_command(text, "run.sh")


def flags(text: str) -> dict[str, list[str]]:
    return read(text).flags


def test_a_flag_has_its_words_up_to_the_next() -> None:
    found = flags("swift rlhf --a 1 --list x y --switch --last -1\n")
    assert found == {"a": ["1"], "list": ["x", "y"], "switch": [], "last": ["-1"]}


def test_an_equals_sign_joins_flag_and_value() -> None:
    found = flags("swift rlhf --a=1 --b='x y' --c= --d=e=f")
    assert found == {"a": ["1"], "b": ["x y"], "c": [""], "d": ["e=f"]}


def test_the_last_of_equal_flags_counts_and_dashes_are_underscores() -> None:
    assert flags("swift rlhf --max-steps 1 --max_steps 2") == {"max_steps": ["2"]}


def test_lines_go_on_after_a_backslash() -> None:
    text = "swift rlhf --a 1 \\\n    --b 2 \\\r\n    --c lo\\\nng\necho --d 3\n"
    assert flags(text) == {"a": ["1"], "b": ["2"], "c": ["long"]}


def test_comments_are_left_out_and_a_hash_in_a_word_is_none() -> None:
    text = "# swift rlhf --no 1\nswift rlhf --data 'x#1' y#2 --a 1 # --b 2\n"
    assert flags(text) == {"data": ["x#1", "y#2"], "a": ["1"]}


def test_quotes_join_words() -> None:
    found = flags("""swift rlhf --a 'x "$y" z' --b "it's \\"\\$1\\"" --c x\\ y --d 'a'"b"c""")
    assert found == {"a": ['x "$y" z'], "b": ['it\'s "$1"'], "c": ["x y"], "d": ["abc"]}


def test_variables_are_put_in() -> None:
    text = (
        "export N=4\nM=${N}2; P='$N'\n"
        "swift rlhf --a $N --b \"${M}x\" --c ${Q:-7} --d $P --e ${N:-1} --f '$N'\n"
    )
    assert flags(text) == {
        "a": ["4"],
        "b": ["42x"],
        "c": ["7"],
        "d": ["$N"],
        "e": ["4"],
        "f": ["$N"],
    }


def test_what_only_a_shell_knows_stays_as_written() -> None:
    found = flags('swift rlhf --a $HOME/x --b "$(date +%s)-1" --c `nproc` --d $((1+2)) --e $')
    assert found["a"] == ["$HOME/x"]
    assert found["b"] == ["$(date +%s)-1"]
    assert found["c"] == ["`nproc`"]
    assert found["d"] == ["$((1+2))"]
    assert found["e"] == ["$"]


def test_variables_before_the_command_are_its_environment() -> None:
    command = read("n=2\nA=0,1 export_me=1 \\\nNPROC_PER_NODE=$n swift rlhf --a b=c\n")
    assert command.environment == {"n": "2", "A": "0,1", "export_me": "1", "NPROC_PER_NODE": "2"}
    assert command.flags == {"a": ["b=c"]}


@pytest.mark.parametrize(
    "launch",
    [
        "nohup swift rlhf",
        "/opt/bin/swift rlhf",
        "env A=1 swift rlhf",
        "mkdir -p x && swift rlhf",
        "torchrun --nproc_per_node 2 /x/swift/cli/rlhf.py",
        "echo 'swift rlhf --a 2'; swift rlhf",
        "cd x\npython y.py --z 1\nswift rlhf",
    ],
)
def test_the_command_is_found(launch: str) -> None:
    assert flags(f"{launch} --a 1 --b x > log.txt 2>&1 &\n") == {"a": ["1"], "b": ["x"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("swift sft --a 1\n", r"run.sh: has no `swift rlhf` command \(other commands of swift"),
        ("", "run.sh: has no `swift rlhf` command"),
        ("swift rlhf x.yaml --a 1", "run.sh: 'x.yaml' stands before the first --flag"),
        ("a=1\nswift rlhf --a 'x\n", "run.sh: the quotation that begins in line 2 does not end"),
        ("swift rlhf --a $(x", "run.sh: the substitution that begins in line 1 does not end"),
        ("\n\nswift rlhf --a `x", "run.sh: the substitution that begins in line 3 does not end"),
    ],
)
def test_what_can_not_be_read_is_named(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(text)


@given(st.lists(st.text(min_size=1).filter(lambda t: not t.startswith("--")), min_size=1))
def test_any_quoted_values_come_back(values: list[str]) -> None:
    # A shell has no words with a null, and a carriage return before a line end is one's editor's.
    values = [value.replace("\0", "").replace("\r", "") or "x" for value in values]
    assert flags(f"swift rlhf --a {shlex.join(values)}") == {"a": values}


@given(st.text(alphabet="ab \n\\'\"$`(){}#;&|<>=-:"))
def test_any_text_is_read_or_refused(text: str) -> None:
    for script in (text, f"swift rlhf --a {text}"):
        try:
            read(script)
        except UserError as error:
            assert str(error).startswith("run.sh: ")  # noqa: PT017
