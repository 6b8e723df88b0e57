{{- define "outrigger.namespaceNotExcluded" -}}
- key: kubernetes.io/metadata.name
  operator: NotIn
  values:
    {{- include "outrigger.excludedNamespaces" . | nindent 4 }}
{{- end }}

{{/*
What the two entries for pods have in common. Expects a dict of `root` and `path`.

The match condition: the kubelet deletes a mirror pod that differs from its static pod. Forging the annotation wins a
pod's author nothing, since no kubelet runs such a pod. Nothing else that an author can write may keep us from being
called.
*/}}
{{- define "outrigger.podWebhook" -}}
{{- with .root -}}
admissionReviewVersions: [v1]
clientConfig:
  service:
    name: {{ include "outrigger.fullname" . }}
    namespace: {{ .Release.Namespace }}
    path: {{ $.path }}
    port: 443
  {{- with include "outrigger.caBundle" . }}
  {{- . | nindent 2 }}
  {{- end }}
rules:
  - apiGroups: [""]
    apiVersions: [v1]
    resources: [pods]
    operations: [CREATE]
    scope: Namespaced
failurePolicy: {{ .Values.webhook.failurePolicy }}
matchPolicy: Equivalent
reinvocationPolicy: {{ .Values.webhook.reinvocationPolicy }}
# An Event, where a profile was left out.
sideEffects: NoneOnDryRun
timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
matchConditions:
  - name: not-a-mirror-pod
    expression: >-
      !has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)
{{- end }}
{{- end }}

{{/*
What the two entries for workloads have in common. Expects a dict of `root` and `path`; more match conditions may follow.

Nobody is held up for advice: a short wait, and without an answer the workload is taken as it is.
*/}}
{{- define "outrigger.adviseWebhook" -}}
{{- with .root -}}
admissionReviewVersions: [v1]
clientConfig:
  service:
    name: {{ include "outrigger.fullname" . }}
    namespace: {{ .Release.Namespace }}
    path: {{ $.path }}
    port: 443
  {{- with include "outrigger.caBundle" . }}
  {{- . | nindent 2 }}
  {{- end }}
rules:
  - apiGroups: [apps]
    apiVersions: [v1]
    resources: [deployments, statefulsets, daemonsets, replicasets]
    operations: [CREATE, UPDATE]
    scope: Namespaced
  - apiGroups: [batch]
    apiVersions: [v1]
    resources: [jobs, cronjobs]
    operations: [CREATE, UPDATE]
    scope: Namespaced
failurePolicy: Ignore
matchPolicy: Equivalent
sideEffects: None
timeoutSeconds: 2
matchConditions:
  # What a controller writes, such as a Deployment's ReplicaSet, is nobody's to correct.
  - name: written-by-a-person
    expression: >-
      !has(object.metadata.ownerReferences) ||
      !object.metadata.ownerReferences.exists(owner, has(owner.controller) && owner.controller)
  - name: template-changed
    expression: >-
      request.operation == 'CREATE' || (request.kind.kind == 'CronJob'
      ? object.spec.jobTemplate.spec.template != oldObject.spec.jobTemplate.spec.template
      : object.spec.template != oldObject.spec.template) ||
      {{- include "outrigger.misplacedKeys" . | nindent 6 }}
{{- end }}
{{- end }}

{{/*
Condition that a workload itself has labels or annotations of Outrigger, which have no effect there and give a warning.
*/}}
{{- define "outrigger.misplacedKeys" -}}
(has(object.metadata.labels) && object.metadata.labels.exists(key, key.contains('outrigger.dev/'))) ||
(has(object.metadata.annotations) && object.metadata.annotations.exists(key, key.contains('outrigger.dev/')))
{{- end }}
