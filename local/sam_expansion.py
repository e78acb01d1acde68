"""Reads template.yaml and expands it with SAM's own translator into plain CloudFormation, without any call to AWS."""

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

ACCOUNT = "123456789012"  # moto's account
REGION = "us-east-1"

# SAM wants code to be in S3 before it expands. A path travels through it as the key of this bucket.
_LOCAL_BUCKET = "on-this-machine"
_SUB_NAME = re.compile(r"\$\{([^!${}][^${}]*)\}")


class TemplateError(Exception):
    """template.yaml cannot be run; the text is one line that says what is wrong and where."""


def read_template(template: Path) -> dict[str, Any]:
    """Return the template as it is written; a YAML error names its line."""
    from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # it ships no types
    from yaml import MarkedYAMLError, YAMLError

    try:
        document = yaml_parse(template.read_text())
    except OSError as error:
        raise TemplateError(f"{template}: {error.strerror}") from error
    except MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise TemplateError(f"{template.name}{line}: {error.problem or error.context}") from error
    except YAMLError as error:
        raise TemplateError(f"{template.name}: {_one_line(error)}") from error
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise TemplateError(f"{template.name}: it has no Resources")
    _refuse_keys_that_are_not_text(template.name, "the template", document)
    return document


def parameter_values(document: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """Return a value for each parameter that the template declares; what else is given is left out."""
    values: dict[str, str] = {}
    for name, definition in document.get("Parameters", {}).items():
        value = given.get(name, definition.get("Default"))
        if value is None:
            raise TemplateError(f"parameter {name} has no value and no default")
        values[name] = str(value)
        allowed = [str(one) for one in definition.get("AllowedValues", [])]
        pattern = definition.get("AllowedPattern")
        if (allowed and values[name] not in allowed) or (pattern and not re.fullmatch(pattern, values[name])):
            raise TemplateError(f"parameter {name}: {values[name]!r} is not allowed ({pattern or ', '.join(allowed)})")
    return values


def expand(document: dict[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the CloudFormation template that SAM makes of this document; it is changed on the way."""
    # Late: these cost a second of import, and only who expands a template needs them.
    from boto3 import Session  # type: ignore[import-untyped]  # boto3 ships no types
    from samtranslator.model.exceptions import InvalidDocumentException  # type: ignore[import-untyped]
    from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]
    from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]
    from samtranslator.utils import py27hash_fix  # type: ignore[import-untyped]

    # It warns of each feature of SAM's service that a translator at home does not know of.
    logging.getLogger("samtranslator.feature_toggle").setLevel(logging.ERROR)
    _mark_local_code(document)
    values = dict(parameters)
    py27hash_fix.to_py27_compatible_template(document, values)  # keeps the ids that SAM derives as AWS derives them
    # The map of managed policies stays empty: roles are not made here, and so AWS need not be asked for its policies.
    translator = Translator({}, Parser(), boto_session=Session(region_name=REGION))
    try:
        expanded = translator.translate(document, parameter_values=values)
    except InvalidDocumentException as error:
        causes = "; ".join(cause.message for cause in error.causes)
        raise TemplateError(f"SAM refuses the template: {_one_line(causes or error.message)}") from error
    finally:
        translator.metrics.publish()  # nobody receives them, but unpublished ones make SAM write a warning
    plain: dict[str, Any] = py27hash_fix.undo_mark_unicode_str_in_template(expanded)
    _refuse_unknown_names(plain)
    return plain


def local_code_folder(code: Mapping[str, Any]) -> str | None:
    """Return the path that stood in the template as CodeUri or ContentUri, or None when the code is not here."""
    return unquote(code["S3Key"]) if code.get("S3Bucket") == _LOCAL_BUCKET else None


def references(node: Any) -> Iterator[tuple[str, str]]:
    """Yield (name, attribute) of everything that Ref, GetAtt and Sub refer to below this node."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        match node:
            case {"Ref": str(name), **rest} if not rest:
                yield name, ""
            case {"Fn::GetAtt": target, **rest} if not rest:
                name, attribute = target.split(".", 1) if isinstance(target, str) else (target[0], str(target[1]))
                yield name, attribute
            case {"Fn::Sub": target, **rest} if not rest:
                text, own = target if isinstance(target, list) else (target, {})
                for found in _SUB_NAME.findall(text):
                    if found not in own:
                        name, _, attribute = found.strip().partition(".")
                        yield name, attribute
                yield from references(list(own.values()))
            case _:
                yield from references(list(node.values()))


def _refuse_keys_that_are_not_text(file: str, place: str, node: Any) -> None:
    """Refuse what YAML takes for another thing than text, such as the names ON and YES."""
    if isinstance(node, dict):
        for key, value in node.items():
            if not isinstance(key, str):
                raise TemplateError(f"{file}: the key {key!r} of {place} is not text: quote it")
            _refuse_keys_that_are_not_text(file, key if place == "the template" else f"{place}.{key}", value)
    elif isinstance(node, list):
        for item in node:
            _refuse_keys_that_are_not_text(file, place, item)


def _mark_local_code(document: dict[str, Any]) -> None:
    owners = [document.get("Globals", {}).get("Function", {})]
    owners += [resource.get("Properties", {}) for resource in document["Resources"].values()]
    for properties in owners:
        for key in ("CodeUri", "ContentUri"):
            uri = properties.get(key)
            if isinstance(uri, str) and not uri.startswith("s3://"):
                properties[key] = f"s3://{_LOCAL_BUCKET}/{quote(uri, safe='')}"


def _refuse_unknown_names(document: Mapping[str, Any]) -> None:
    known = {*document["Resources"], *document.get("Parameters", {})}
    for section in ("Resources", "Outputs"):
        for logical_id, entry in document.get(section, {}).items():
            for name, _ in references(entry):
                if name not in known and not name.startswith("AWS::"):
                    raise TemplateError(f"{section}.{logical_id} refers to {name}, which is not in the template")


def _one_line(words: object) -> str:
    return " ".join(str(words).split())
