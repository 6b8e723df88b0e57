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
sideEffects: None
timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
matchConditions:
  - name: not-a-mirror-pod
    expression: >-
      !has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)
{{- end }}
{{- end }}
