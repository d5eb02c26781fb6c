"""Pieces of schema that several API types share."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

from kcpctl.apis.meta import ApiStruct
from kcpctl.apis.quantity import QUANTITY_PATTERN
from kcpctl.apis.schema import doc

__all__ = [
    "DNS_LABEL",
    "DNS_SUBDOMAIN",
    "DURATION",
    "LABEL_KEY",
    "LABEL_VALUE",
    "PATH_PATTERN",
    "TIME",
    "ConfigSecretReference",
    "LabelSelector",
    "LabelSelectorRequirement",
    "Quantity",
    "ResourceList",
    "SecretReference",
    "Taint",
]

DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_VALUE: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
LABEL_KEY: Final = (
    r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
PATH_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(:[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

DURATION: Final[dict[str, Any]] = {
    # No sign: a negative duration makes no sense anywhere in these types.
    "pattern": r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$",
    "maxLength": 64,
}
TIME: Final[dict[str, Any]] = {"format": "date-time"}

# Syntax only, also of the sign: a negative figure is for the controller to refuse with a
# condition that names the resource, not for the server with a 422.
Quantity = Annotated[
    str | int,
    doc("A Kubernetes quantity, such as 500m, 2 or 1.5Gi.", {"pattern": QUANTITY_PATTERN}),
]
ResourceList = dict[str, Quantity]


class SecretReference(ApiStruct):
    """A reference to a Secret in the same workspace."""

    name: Annotated[str, doc("Name of the Secret.", {"minLength": 1, "maxLength": 253})]
    namespace: Annotated[
        str,
        doc(
            "Namespace of the Secret. Defaults to the controller's credentials namespace, "
            "kcpctl-system.",
            {"maxLength": 63},
        ),
    ] = ""


class ConfigSecretReference(SecretReference):
    """A reference to a Secret that holds a kubeconfig."""

    key: Annotated[
        str,
        doc(
            "Key of the Secret's data that holds the kubeconfig. Defaults to kubeconfig.",
            {"maxLength": 253},
        ),
    ] = ""


class LabelSelectorRequirement(ApiStruct):
    """One rule of a label selector."""

    key: Annotated[str, doc("The label that the rule is about.", {"maxLength": 317})]
    operator: Annotated[
        str,
        doc(
            "How the label's value relates to values.",
            {"enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
        ),
    ]
    values: Annotated[
        list[str],
        doc(
            "The values to compare with: at least one for In and NotIn, none for the other two.",
            {"maxItems": 100, "x-kubernetes-list-type": "atomic"},
        ),
    ] = []

    schema_extra: ClassVar[dict[str, Any]] = {
        "x-kubernetes-validations": [
            {
                "rule": "self.operator in ['In', 'NotIn'] ? has(self.values) && "
                "self.values.size() > 0 : !has(self.values) || self.values.size() == 0",
                "message": "In and NotIn need values, Exists and DoesNotExist must not have any",
            }
        ]
    }


class LabelSelector(ApiStruct):
    """A choice by labels; all of its rules must hold, and an empty one chooses everything."""

    match_labels: Annotated[
        dict[str, str], doc("Labels that must be present with exactly these values.")
    ] = {}
    match_expressions: Annotated[
        list[LabelSelectorRequirement],
        doc("Rules that must all hold.", {"maxItems": 50, "x-kubernetes-list-type": "atomic"}),
    ] = []


class Taint(ApiStruct, kw_only=True):
    """Keeps workloads away that do not tolerate it."""

    key: Annotated[str, doc("Key of the taint, a label key.", {"minLength": 1, "maxLength": 317})]
    value: Annotated[str, doc("Value of the taint, a label value.", {"maxLength": 63})] = ""
    effect: Annotated[
        str,
        doc(
            "What happens to workloads that do not tolerate the taint: NoSchedule keeps new ones "
            "away, PreferNoSchedule avoids them, NoExecute also moves those that are there.",
            {"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
        ),
    ]
    time_added: Annotated[str | None, doc("When a NoExecute taint was added.", TIME)] = None
