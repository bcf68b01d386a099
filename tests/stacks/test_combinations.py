"""Every combination of settings that the documentation names becomes a template."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stacks import nag
from stacks.combinations import COMBINATIONS, synthesize
from stacks.settings import LEAVES, Settings, SettingsError, committed


@pytest.mark.parametrize("name", COMBINATIONS)
def test_a_combination_is_synthesized(templates: dict[str, dict[str, Any]], name: str) -> None:
    kinds = {resource["Type"] for resource in templates[name]["Resources"].values()}
    assert {"AWS::StepFunctions::StateMachine", "AWS::Lambda::Function", "AWS::ApiGateway::RestApi"} <= kinds


def test_one_combination_has_all_settings() -> None:
    # Given the settings that any other combination changes
    changed = {key for settings in COMBINATIONS.values() for key in settings}
    # Then the combination "everything" changes all of them, except for supplied labels, which need no work team
    assert set(COMBINATIONS["everything"]) == changed - {"labelProvider"}


def test_combinations_differ_in_their_own_settings() -> None:
    # Given the settings of each combination, then each is a known key with a value other than the default
    defaults = committed()
    for settings in COMBINATIONS.values():
        for key, value in settings.items():
            assert key in LEAVES
            assert value != defaults[key]


def test_cost_tags_are_on_all_that_takes_tags(templates: dict[str, dict[str, Any]]) -> None:
    # Given cost tags
    cost_tags = COMBINATIONS["watched-closely"]["tags"]
    resources = templates["watched-closely"]["Resources"].values()
    # Then billed resources have them
    billed = {"AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::Lambda::Function", "AWS::StepFunctions::StateMachine"}
    for resource in resources:
        if resource["Type"] in billed:
            tags = {tag["Key"]: tag["Value"] for tag in resource["Properties"]["Tags"]}
            assert cost_tags.items() <= tags.items()
    # And the stages that create projects, models and labelling jobs get them
    environments = [
        variables["COST_TAGS"] for resource in resources if "COST_TAGS" in (variables := dict(_variables(resource)))
    ]
    assert environments == ["cost-centre=4711,team=kyc"] * 3


def test_the_own_key_reaches_models_and_labelling_jobs(templates: dict[str, dict[str, Any]]) -> None:
    for name, key in {"own-key": COMBINATIONS["own-key"]["kmsKeyArn"], "default": ""}.items():
        keys = [
            variables["KMS_KEY_ARN"]
            for resource in templates[name]["Resources"].values()
            if "KMS_KEY_ARN" in (variables := dict(_variables(resource)))
        ]
        assert keys == [key] * 2


def test_a_region_is_that_of_the_stack(tmp_path: Path) -> None:
    # Given a Region
    synthesize("chosen-region", tmp_path / "cdk.out")
    # Then the CDK deploys there and nowhere else
    manifest = json.loads((tmp_path / "cdk.out" / "manifest.json").read_text())
    assert manifest["artifacts"]["ekyc-training"]["environment"] == "aws://unknown-account/eu-west-1"


def test_the_examples_agree_about_their_region() -> None:
    # Given another Region than that of the example resources
    everything = committed() | COMBINATIONS["everything"] | {"region": "us-east-1"}
    # Then the settings are refused
    with pytest.raises(SettingsError, match="webAclArn is in eu-west-1"):
        Settings.from_context(everything)


def test_the_checks_by_cdk_nag_write_a_template_each(
    templates: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given two combinations
    chosen = {name: COMBINATIONS[name] for name in ("default", "chosen-region")}
    monkeypatch.setattr(nag, "COMBINATIONS", chosen)
    # When both are checked
    assert nag.main(tmp_path / "templates") == 0
    # Then cfn-lint finds the template of each, in which the rules changed nothing
    written = {path.name: json.loads(path.read_text()) for path in (tmp_path / "templates").iterdir()}
    assert written == {f"{name}.template.json": templates[name] for name in chosen}


def _variables(resource: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the environment variables of a function; nothing for other resources."""
    yield from resource.get("Properties", {}).get("Environment", {}).get("Variables", {}).items()
