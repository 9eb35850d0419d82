"""Every address of the app's OpenAPI, asked with whatever fits it and much that does not: none answers with a failure."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

from analysis.browser.app import create_app

schemathesis = pytest.importorskip("schemathesis")
EXAMPLES = 6


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_no_address_fails(small_study, mode):
    described = schemathesis.openapi.from_asgi("/openapi.json", create_app(small_study, hosts=["testserver"]))
    asked = 0
    for found in described.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        )
        def ask(case):
            nonlocal asked
            asked += 1
            answer = case.call()
            # 503: a part that is not there, said in a sentence
            assert answer.status_code < 500 or answer.status_code == 503, (
                f"{case.as_curl_command()}: {answer.text[:500]}"
            )

        try:
            ask()
        except Unsatisfiable:  # every value fits: there is nothing wrong to be asked
            continue
    assert asked > EXAMPLES * 10
