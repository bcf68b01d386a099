"""How sources are read from YAML."""

from pathlib import Path

import pytest

from stacks import yaml_source
from stacks.yaml_source import SourceError


def test_a_key_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    # Given a state that has two transitions
    file = tmp_path / "training.asl.yaml"
    file.write_text("States:\n  Check photos:\n    Next: Import labels\n    Next: Prepare datasets\n")
    # When the definition is read
    with pytest.raises(SourceError) as error:
        yaml_source.read(file)
    # Then the error names the line and the key
    assert str(error.value).startswith('training.asl.yaml, line 4: found duplicate key "Next"')


def test_text_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "training.asl.yaml"
    file.write_text("States:\n  Check photos: {Next: Import labels\n")
    with pytest.raises(SourceError, match=r"training\.asl\.yaml, line 3: "):
        yaml_source.read(file)


def test_a_word_that_older_yaml_takes_for_a_value_is_text(tmp_path: Path) -> None:
    # Given what YAML 1.1 reads as True, False and 5400
    file = tmp_path / "training.asl.yaml"
    file.write_text("Comment: [Yes, On, no, 1:30:00]\n")
    # Then it stays text
    assert yaml_source.read(file) == {"Comment": ["Yes", "On", "no", "1:30:00"]}


def test_what_states_share_is_in_each_of_them_and_not_apart(tmp_path: Path) -> None:
    # Given two states that share a key, of which one has a value of its own for it
    file = tmp_path / "training.asl.yaml"
    file.write_text(
        "x-stages:\n  stage: &stage {Type: Task, TimeoutSeconds: 90}\n"
        "States:\n  One: {<<: *stage}\n  Other: {<<: *stage, TimeoutSeconds: 920}\n"
    )
    # Then the definition has the states alone
    assert yaml_source.read(file) == {
        "States": {
            "One": {"Type": "Task", "TimeoutSeconds": 90},
            "Other": {"Type": "Task", "TimeoutSeconds": 920},
        }
    }
