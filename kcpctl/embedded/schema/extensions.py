"""What the models do not say about built-in types: list types, patch strategies, enums, formats.

Kept by hand after the OpenAPI of a real server (1.36). Each table maps a type to its fields.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ALWAYS_PRESENT",
    "ATOMIC_TYPES",
    "ENUMS",
    "INT64",
    "LISTS",
    "QUANTITIES",
]

ATOMIC_TYPES: Final = frozenset(
    {
        "CoreV1EndpointPort",
        "DiscoveryV1EndpointPort",
        "RbacV1Subject",
        "V1ConfigMapKeySelector",
        "V1CrossVersionObjectReference",
        "V1EndpointAddress",
        "V1FileKeySelector",
        "V1LabelSelector",
        "V1LocalObjectReference",
        "V1MatchResources",
        "V1NamedRuleWithOperations",
        "V1NodeSelector",
        "V1NodeSelectorTerm",
        "V1ObjectFieldSelector",
        "V1ObjectReference",
        "V1OwnerReference",
        "V1ParamKind",
        "V1ParamRef",
        "V1ResourceFieldSelector",
        "V1RoleRef",
        "V1ScopeSelector",
        "V1SecretKeySelector",
        "V1SecretReference",
        "V1ServiceBackendPort",
        "V1TopologySelectorTerm",
        "V1TypedLocalObjectReference",
        "V1Variable",
    }
)
"""Structs that have one owner as a whole."""

LISTS: Final = {
    "V1APIServiceStatus": "conditions=map:type/merge",
    "V1CSIDriverSpec": "volumeLifecycleModes=set",
    "V1CSINodeSpec": "drivers=map:name/merge",
    "V1CertificateSigningRequestStatus": "conditions=map:type",
    "V1Container": "env=map:name/merge ports=map:containerPort,protocol/merge "
    "volumeDevices=map:devicePath/merge volumeMounts=map:mountPath/merge",
    "V1ContainerRestartRuleOnExitCodes": "values=set",
    "V1ContainerStatus": "allocatedResourcesStatus=map:name/merge volumeMounts=map:mountPath/merge",
    "V1CustomResourceDefinitionStatus": "conditions=map:type",
    "V1DaemonSetStatus": "conditions=map:type/merge",
    "V1DeploymentSpec": "strategy=/retainKeys",
    "V1DeploymentStatus": "conditions=map:type/merge",
    "V1Endpoint": "addresses=set",
    "V1EphemeralContainer": "env=map:name/merge ports=map:containerPort,protocol/merge "
    "volumeDevices=map:devicePath/merge volumeMounts=map:mountPath/merge",
    "V1JSONSchemaProps": "x-kubernetes-validations=map:rule/merge",
    "V1JobStatus": "conditions=list:type/merge",
    "V1MutatingWebhook": "matchConditions=map:name/merge",
    "V1MutatingWebhookConfiguration": "webhooks=map:name/merge",
    "V1NamespaceStatus": "conditions=map:type/merge",
    "V1NodeAllocatableResourceClaimStatus": "containers=set",
    "V1NodeSpec": "podCIDRs=set/merge",
    "V1NodeStatus": "addresses=map:type/merge conditions=map:type/merge",
    "V1ObjectMeta": "finalizers=set/merge ownerReferences=map:uid/merge",
    "V1PersistentVolumeClaimStatus": "conditions=map:type/merge",
    "V1PodDisruptionBudgetSpec": "selector=/replace",
    "V1PodDisruptionBudgetStatus": "conditions=map:type/merge",
    "V1PodFailurePolicyOnExitCodesRequirement": "values=set",
    "V1PodSpec": "containers=map:name/merge ephemeralContainers=map:name/merge "
    "hostAliases=map:ip/merge imagePullSecrets=map:name/merge "
    "initContainers=map:name/merge nodeSelector=atomic "
    "resourceClaims=map:name/merge,retainKeys schedulingGates=map:name/merge "
    "topologySpreadConstraints=map:topologyKey,whenUnsatisfiable/merge "
    "volumes=map:name/merge,retainKeys",
    "V1PodStatus": "conditions=map:type/merge hostIPs=list:ip/merge podIPs=map:ip/merge "
    "resourceClaimStatuses=map:name/merge,retainKeys",
    "V1ReplicaSetStatus": "conditions=map:type/merge",
    "V1ReplicationControllerSpec": "selector=atomic",
    "V1ReplicationControllerStatus": "conditions=map:type/merge",
    "V1ResourceRequirements": "claims=map:name",
    "V1ResourceStatus": "resources=map:resourceID",
    "V1Scheduling": "nodeSelector=atomic",
    "V1ServiceAccount": "secrets=map:name/merge",
    "V1ServiceSpec": "ports=map:port,protocol/merge selector=atomic",
    "V1ServiceStatus": "conditions=map:type/merge",
    "V1StatefulSetStatus": "conditions=map:type/merge",
    "V1UncountedTerminatedPods": "failed=set succeeded=set",
    "V1ValidatingAdmissionPolicyBindingSpec": "validationActions=set",
    "V1ValidatingAdmissionPolicySpec": "matchConditions=map:name/merge variables=map:name/merge",
    "V1ValidatingAdmissionPolicyStatus": "conditions=map:type",
    "V1ValidatingWebhook": "matchConditions=map:name/merge",
    "V1ValidatingWebhookConfiguration": "webhooks=map:name/merge",
    "V2HorizontalPodAutoscalerStatus": "conditions=map:type/merge",
}
"""Lists and maps that are merged: ``field=map:keys/strategy``, ``set/strategy``, ``list:key``."""

ALWAYS_PRESENT: Final = {
    "CoreV1Event": "involvedObject source",
    "EventsV1Event": "deprecatedSource regarding",
    "V1Binding": "target",
    "V1ClusterRoleBinding": "roleRef",
    "V1Container": "resources",
    "V1ContainerStatus": "lastState state",
    "V1CronJobSpec": "jobTemplate",
    "V1CustomResourceDefinitionSpec": "names",
    "V1CustomResourceDefinitionStatus": "acceptedNames",
    "V1DaemonSetSpec": "template updateStrategy",
    "V1DeploymentSpec": "strategy template",
    "V1Endpoint": "conditions",
    "V1EphemeralContainer": "resources",
    "V1HTTPIngressPath": "backend",
    "V1HorizontalPodAutoscalerSpec": "scaleTargetRef",
    "V1IngressServiceBackend": "port",
    "V1IngressStatus": "loadBalancer",
    "V1JobSpec": "template",
    "V1MutatingWebhook": "clientConfig",
    "V1NetworkPolicySpec": "podSelector",
    "V1NodeDaemonEndpoints": "kubeletEndpoint",
    "V1NodeStatus": "daemonEndpoints nodeInfo",
    "V1PersistentVolumeClaimSpec": "resources",
    "V1PodTemplate": "template",
    "V1PreferredSchedulingTerm": "preference",
    "V1ReplicaSetSpec": "template",
    "V1RoleBinding": "roleRef",
    "V1SelfSubjectReviewStatus": "userInfo",
    "V1ServiceStatus": "loadBalancer",
    "V1StatefulSetSpec": "template updateStrategy",
    "V1TokenReviewStatus": "user",
    "V1ValidatingWebhook": "clientConfig",
    "V1VolumeAttachmentSpec": "source",
    "V1WeightedPodAffinityTerm": "podAffinityTerm",
    "V2ContainerResourceMetricSource": "target",
    "V2ContainerResourceMetricStatus": "current",
    "V2ExternalMetricSource": "metric target",
    "V2ExternalMetricStatus": "current metric",
    "V2HorizontalPodAutoscalerSpec": "scaleTargetRef",
    "V2ObjectMetricSource": "describedObject metric target",
    "V2ObjectMetricStatus": "current describedObject metric",
    "V2PodsMetricSource": "metric target",
    "V2PodsMetricStatus": "current metric",
    "V2ResourceMetricSource": "target",
    "V2ResourceMetricStatus": "current",
}
"""Structs that Go has by value: they are there, if empty, in every object. (So are metadata, and
spec and status beside it, which are not listed.)"""

QUANTITIES: Final = {
    "V1CSIStorageCapacity": "capacity maximumVolumeSize",
    "V1ContainerStatus": "allocatedResources",
    "V1EmptyDirVolumeSource": "sizeLimit",
    "V1LimitRangeItem": "default defaultRequest max maxLimitRequestRatio min",
    "V1NodeStatus": "allocatable capacity",
    "V1Overhead": "podFixed",
    "V1PersistentVolumeClaimStatus": "allocatedResources capacity",
    "V1PersistentVolumeSpec": "capacity",
    "V1PodSpec": "overhead",
    "V1PodStatus": "allocatedResources",
    "V1ResourceFieldSelector": "divisor",
    "V1ResourceQuotaSpec": "hard",
    "V1ResourceQuotaStatus": "hard used",
    "V1ResourceRequirements": "limits requests",
    "V1VolumeResourceRequirements": "limits requests",
    "V2HPAScalingRules": "tolerance",
    "V2MetricTarget": "averageValue value",
    "V2MetricValueStatus": "averageValue value",
}
"""Fields that are quantities, or maps of them."""

INT64: Final = {
    "StorageV1TokenRequest": "expirationSeconds",
    "V1CSIDriverSpec": "nodeAllocatableUpdatePeriodSeconds",
    "V1Condition": "observedGeneration",
    "V1ContainerImage": "sizeBytes",
    "V1ControllerRevision": "revision",
    "V1CronJobSpec": "startingDeadlineSeconds",
    "V1CustomResourceDefinitionCondition": "observedGeneration",
    "V1CustomResourceDefinitionStatus": "observedGeneration",
    "V1DaemonSetStatus": "observedGeneration",
    "V1DeleteOptions": "gracePeriodSeconds",
    "V1DeploymentStatus": "observedGeneration",
    "V1HorizontalPodAutoscalerStatus": "observedGeneration",
    "V1JSONSchemaProps": "maxItems maxLength maxProperties minItems minLength minProperties",
    "V1JobSpec": "activeDeadlineSeconds",
    "V1LinuxContainerUser": "gid uid",
    "V1NodeSwapStatus": "capacity",
    "V1ObjectMeta": "deletionGracePeriodSeconds generation",
    "V1PodCondition": "observedGeneration",
    "V1PodDisruptionBudgetStatus": "observedGeneration",
    "V1PodSecurityContext": "fsGroup runAsGroup runAsUser",
    "V1PodSpec": "activeDeadlineSeconds terminationGracePeriodSeconds",
    "V1PodStatus": "observedGeneration",
    "V1Probe": "terminationGracePeriodSeconds",
    "V1ReplicaSetStatus": "observedGeneration",
    "V1ReplicationControllerStatus": "observedGeneration",
    "V1SecurityContext": "runAsGroup runAsUser",
    "V1ServiceAccountTokenProjection": "expirationSeconds",
    "V1SleepAction": "seconds",
    "V1StatefulSetStatus": "observedGeneration",
    "V1TokenRequestSpec": "expirationSeconds",
    "V1Toleration": "tolerationSeconds",
    "V1ValidatingAdmissionPolicyStatus": "observedGeneration",
    "V2HorizontalPodAutoscalerStatus": "observedGeneration",
}
"""Integers that are 64 bits wide; all others have 32."""

ENUMS: Final = {
    "CoreV1EndpointPort": "protocol=SCTP|TCP|UDP",
    "DiscoveryV1EndpointPort": "protocol=SCTP|TCP|UDP",
    "V1AppArmorProfile": "type=Localhost|RuntimeDefault|Unconfined",
    "V1AzureDiskVolumeSource": "cachingMode=None|ReadOnly|ReadWrite kind=Dedicated|Managed|Shared",
    "V1Container": "imagePullPolicy=Always|IfNotPresent|Never "
    "terminationMessagePolicy=FallbackToLogsOnError|File",
    "V1ContainerPort": "protocol=SCTP|TCP|UDP",
    "V1CronJobSpec": "concurrencyPolicy=Allow|Forbid|Replace",
    "V1DaemonSetUpdateStrategy": "type=OnDelete|RollingUpdate",
    "V1DeploymentStrategy": "type=Recreate|RollingUpdate",
    "V1EndpointSlice": "addressType=FQDN|IPv4|IPv6",
    "V1EphemeralContainer": "imagePullPolicy=Always|IfNotPresent|Never "
    "terminationMessagePolicy=FallbackToLogsOnError|File",
    "V1HTTPGetAction": "scheme=HTTP|HTTPS",
    "V1HTTPIngressPath": "pathType=Exact|ImplementationSpecific|Prefix",
    "V1HostPathVolumeSource": "type=|BlockDevice|CharDevice|Directory|DirectoryOrCreate|File"
    "|FileOrCreate|Socket",
    "V1ImageVolumeSource": "pullPolicy=Always|IfNotPresent|Never",
    "V1IngressPortStatus": "protocol=SCTP|TCP|UDP",
    "V1JobSpec": "completionMode=Indexed|NonIndexed "
    "podReplacementPolicy=Failed|TerminatingOrFailed",
    "V1MatchResources": "matchPolicy=Equivalent|Exact",
    "V1ModifyVolumeStatus": "status=InProgress|Infeasible|Pending",
    "V1MutatingWebhook": "failurePolicy=Fail|Ignore matchPolicy=Equivalent|Exact "
    "reinvocationPolicy=IfNeeded|Never sideEffects=None|NoneOnDryRun|Some|Unknown",
    "V1NamedRuleWithOperations": "scope=*|Cluster|Namespaced",
    "V1NamespaceStatus": "phase=Active|Terminating",
    "V1NetworkPolicyPort": "protocol=SCTP|TCP|UDP",
    "V1NodeSelectorRequirement": "operator=DoesNotExist|Exists|Gt|In|Lt|NotIn",
    "V1NodeStatus": "phase=Pending|Running|Terminated",
    "V1PersistentVolumeClaimSpec": "volumeMode=Block|Filesystem",
    "V1PersistentVolumeClaimStatus": "phase=Bound|Lost|Pending",
    "V1PersistentVolumeSpec": "persistentVolumeReclaimPolicy=Delete|Recycle|Retain "
    "volumeMode=Block|Filesystem",
    "V1PersistentVolumeStatus": "phase=Available|Bound|Failed|Pending|Released",
    "V1PodDisruptionBudgetSpec": "unhealthyPodEvictionPolicy=AlwaysAllow|IfHealthyBudget",
    "V1PodFailurePolicyOnExitCodesRequirement": "operator=In|NotIn",
    "V1PodFailurePolicyRule": "action=Count|FailIndex|FailJob|Ignore",
    "V1PodSecurityContext": "fsGroupChangePolicy=Always|OnRootMismatch "
    "supplementalGroupsPolicy=Merge|Strict",
    "V1PodSpec": "dnsPolicy=ClusterFirst|ClusterFirstWithHostNet|Default|None "
    "preemptionPolicy=Never|PreemptLowerPriority restartPolicy=Always|Never|OnFailure",
    "V1PodStatus": "phase=Failed|Pending|Running|Succeeded|Unknown "
    "qosClass=BestEffort|Burstable|Guaranteed",
    "V1PortStatus": "protocol=SCTP|TCP|UDP",
    "V1PriorityClass": "preemptionPolicy=Never|PreemptLowerPriority",
    "V1RuleWithOperations": "scope=*|Cluster|Namespaced",
    "V1ScopedResourceSelectorRequirement": "operator=DoesNotExist|Exists|In|NotIn "
    "scopeName=BestEffort|CrossNamespacePodAffinity"
    "|NotBestEffort|NotTerminating|PriorityClass|Terminating|VolumeAttributesClass",
    "V1SeccompProfile": "type=Localhost|RuntimeDefault|Unconfined",
    "V1SecurityContext": "procMount=Default|Unmasked",
    "V1ServicePort": "protocol=SCTP|TCP|UDP",
    "V1ServiceSpec": "externalTrafficPolicy=Cluster|Local internalTrafficPolicy=Cluster|Local "
    "ipFamilyPolicy=PreferDualStack|RequireDualStack|SingleStack "
    "sessionAffinity=ClientIP|None type=ClusterIP|ExternalName|LoadBalancer|NodePort",
    "V1StatefulSetSpec": "podManagementPolicy=OrderedReady|Parallel",
    "V1StatefulSetUpdateStrategy": "type=OnDelete|RollingUpdate",
    "V1StorageClass": "reclaimPolicy=Delete|Recycle|Retain "
    "volumeBindingMode=Immediate|WaitForFirstConsumer",
    "V1Taint": "effect=NoExecute|NoSchedule|PreferNoSchedule",
    "V1Toleration": "effect=NoExecute|NoSchedule|PreferNoSchedule operator=Equal|Exists|Gt|Lt",
    "V1TopologySpreadConstraint": "nodeAffinityPolicy=Honor|Ignore nodeTaintsPolicy=Honor|Ignore "
    "whenUnsatisfiable=DoNotSchedule|ScheduleAnyway",
    "V1ValidatingAdmissionPolicySpec": "failurePolicy=Fail|Ignore",
    "V1ValidatingWebhook": "failurePolicy=Fail|Ignore matchPolicy=Equivalent|Exact "
    "sideEffects=None|NoneOnDryRun|Some|Unknown",
    "V1ValidationRule": "reason=FieldValueDuplicate|FieldValueForbidden|FieldValueInvalid"
    "|FieldValueRequired",
    "V1VolumeMount": "mountPropagation=Bidirectional|HostToContainer|None",
}
"""Values that the schema lists: ``field=A|B``."""
