{{- define "outrigger.namespaceNotExcluded" -}}
- key: kubernetes.io/metadata.name
  operator: NotIn
  values:
    {{- include "outrigger.excludedNamespaces" . | nindent 4 }}
{{- end }}

{{/*
Common fields of the two entries for pods. Expects a dict of `root` and `path`.

The match condition exempts mirror pods, because the kubelet deletes a mirror pod that differs from its static pod. A user
gains nothing by forging the annotation: no kubelet runs such a pod. No other condition may read fields that users set.
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
# Writes an Event if a profile was left out.
sideEffects: NoneOnDryRun
timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
matchConditions:
  - name: not-a-mirror-pod
    expression: >-
      !has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)
{{- end }}
{{- end }}

{{/*
Common fields of the two entries for workloads. Expects a dict of `root` and `path`. Callers can append match conditions.

Warnings must not delay or reject a workload, hence the short timeout and `failurePolicy: Ignore`.
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
  # Not for objects of a controller, such as a Deployment's ReplicaSet: users cannot correct them.
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
True if the workload itself has labels or annotations of Outrigger. They have no effect there; the server warns about them.
*/}}
{{- define "outrigger.misplacedKeys" -}}
(has(object.metadata.labels) && object.metadata.labels.exists(key, key.contains('outrigger.dev/'))) ||
(has(object.metadata.annotations) && object.metadata.annotations.exists(key, key.contains('outrigger.dev/')))
{{- end }}
