"""Cannot be imported."""

import a_package_that_nobody_installed  # type: ignore[import-not-found]  # that is the point


def handler(event: object, context: object) -> object:  # noqa: ARG001 - Lambda gives both
    return a_package_that_nobody_installed
