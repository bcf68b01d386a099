"""The environments of the deployed functions, compared with the sizes that synth computes."""

import json
from pathlib import Path
from typing import Any

from deployed import Pipeline
from test_stop_and_resume import labelled_job

from stacks.runtime import ENVIRONMENT_BYTES, longest_value


def test_no_environment_is_larger_than_synth_reckons(shared_pipeline: Pipeline, assembly: Path) -> None:
    # Given the variables of each function as the template has them
    (template,) = assembly.glob("*.template.json")
    resources = json.loads(template.read_text())["Resources"].values()
    written: dict[str, dict[str, Any]] = {}
    for one in resources:
        if one["Type"] == "AWS::Lambda::Function":
            variables = one["Properties"]["Environment"]["Variables"]
            written[variables["POWERTOOLS_SERVICE_NAME"]] = variables
    # When they are deployed, so that each reference is a name or an ARN
    functions = shared_pipeline.aws.client("lambda").list_functions()["Functions"]
    found = {one["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]: one["Environment"] for one in functions}
    # Then none has a value that is longer than reckoned, and all have room
    assert set(found) == set(written)
    for service, environment in found.items():
        variables = environment["Variables"]
        for name, value in variables.items():
            assert len(value.encode()) <= longest_value(written[service][name], "ekyc-training"), (service, name)
        assert sum(len(name) + len(value.encode()) for name, value in variables.items()) < ENVIRONMENT_BYTES


def test_a_function_with_a_wrong_environment_fails_its_job(pipeline: Pipeline) -> None:
    # Given an operator who changed a function's environment by hand
    functions = pipeline.aws.client("lambda")
    [function] = [one for one in functions.list_functions()["Functions"] if "ImportLabels" in one["FunctionName"]]
    variables = function["Environment"]["Variables"]
    name = {"FunctionName": function["FunctionName"]}
    functions.update_function_configuration(
        **name, Environment={"Variables": variables | {"MAX_UNMATCHED_SHARE": "half"}}
    )
    # When a job reaches the function; Then the job says which variable is wrong
    job_id = labelled_job(pipeline, deploy=False)
    job = pipeline.reaches(job_id, "Failed")
    assert (job["error"], job["stage"]) == ("SettingsInvalid", "Import labels")
    assert "MAX_UNMATCHED_SHARE is 'half', which is not a valid float" in job["cause"]
    # And it can be resumed once the environment is right again
    functions.update_function_configuration(**name, Environment={"Variables": variables})
    assert pipeline.http.post(f"jobs/{job_id}/resume").status_code == 200
    pipeline.reaches(job_id, "Ready")
