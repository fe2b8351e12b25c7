"""From texts to complete values: parse each variable, then fill in what follows from others."""

from collections.abc import Mapping

from pydantic import ValidationError

from backends.contract import BackendKind
from gateway.variables.cores import usable_cores
from gateway.variables.declared import Variables
from gateway.variables.problems import SettingProblem
from gateway.variables.table import VARIABLES


def parse(texts: Mapping[str, str]) -> tuple[Variables, list[SettingProblem]]:
    """Parse what can be parsed; the rest gets defaults, so that rules can still be checked."""
    problems: list[SettingProblem] = []
    try:
        return Variables.model_validate(texts), problems
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False, include_context=False, include_input=False)
    for error in errors:
        name = str(error["loc"][0])
        problems.append(
            SettingProblem(
                variable=name,
                problem=error["msg"].replace("Input should be", "must be"),
                fix=f"Write {VARIABLES[name].accepts}",
            )
        )
    bad = {problem.variable for problem in problems}
    good = {name: text for name, text in texts.items() if name not in bad}
    return Variables.model_validate(good), problems


def with_defaults(values: Variables, *, on_terminal: bool) -> Variables:
    """Fill in the defaults that depend on other variables or on this machine."""
    remote = BackendKind.KNATIVE if values.runner_base_url else BackendKind.EMBEDDED
    return values.model_copy(
        update={
            "runner_backend": values.runner_backend or remote,
            "runner_max_concurrency": values.runner_max_concurrency or usable_cores(),
            "gateway_log_format": values.gateway_log_format
            or ("console" if on_terminal else "json"),
            "runner_storage_api_token": values.runner_storage_api_token
            or values.runner_service_token,
            "runner_config_api_token": values.runner_config_api_token
            or values.runner_storage_api_token,
        }
    )
