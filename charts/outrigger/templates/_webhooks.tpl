{{/*
Webhooks of both configurations. They are rendered twice: into the configurations, and into the ConfigMap that the servers
compare the live configurations with.
*/}}
{{- define "outrigger.mutatingWebhooks" -}}
# Namespaces with the label, regardless of its value: the server warns about a misspelled value.
- name: pods.outrigger.dev
  {{- include "outrigger.podWebhook" (dict "root" . "path" "/mutate/namespace") | nindent 2 }}
  namespaceSelector:
    matchExpressions:
      - key: outrigger.dev/inject
        operator: Exists
      {{- include "outrigger.namespaceNotExcluded" . | nindent 6 }}
# In other namespaces, only pods that have the label themselves.
- name: labelled.pods.outrigger.dev
  {{- include "outrigger.podWebhook" (dict "root" . "path" "/mutate/pod") | nindent 2 }}
  namespaceSelector:
    matchExpressions:
      - key: outrigger.dev/inject
        operator: DoesNotExist
      {{- include "outrigger.namespaceNotExcluded" . | nindent 6 }}
  objectSelector:
    matchExpressions:
      - key: outrigger.dev/inject
        operator: Exists
# Keeps injected values when the original manifest of an injected pod is applied again. Status updates by controllers do
# not match.
- name: updated.pods.outrigger.dev
  admissionReviewVersions: [v1]
  clientConfig:
    service:
      name: {{ include "outrigger.fullname" . }}
      namespace: {{ .Release.Namespace }}
      path: /restore
      port: 443
    {{- with include "outrigger.caBundle" . }}
    {{- . | nindent 4 }}
    {{- end }}
  rules:
    - apiGroups: [""]
      apiVersions: [v1]
      resources: [pods]
      operations: [UPDATE]
      scope: Namespaced
  # Without an answer, the API server validates the update as it does without Outrigger.
  failurePolicy: Ignore
  matchPolicy: Equivalent
  reinvocationPolicy: Never
  sideEffects: None
  timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
  namespaceSelector:
    matchExpressions:
      {{- include "outrigger.namespaceNotExcluded" . | nindent 6 }}
  objectSelector:
    matchLabels:
      outrigger.dev/injected: "true"
  matchConditions:
    - name: spec-or-annotations-changed
      expression: >-
        object.spec != oldObject.spec ||
        (has(object.metadata.annotations) ? object.metadata.annotations : {}) !=
        (has(oldObject.metadata.annotations) ? oldObject.metadata.annotations : {})
{{- end }}

{{- define "outrigger.validatingWebhooks" -}}
- name: profiles.outrigger.dev
  admissionReviewVersions: [v1]
  clientConfig:
    service:
      name: {{ include "outrigger.fullname" . }}
      namespace: {{ .Release.Namespace }}
      path: /validate
      port: 443
    {{- with include "outrigger.caBundle" . }}
    {{- . | nindent 4 }}
    {{- end }}
  rules:
    - apiGroups: [outrigger.dev]
      apiVersions: [v1alpha1]
      resources: [clustersidecarprofiles, sidecarprofiles]
      operations: [CREATE, UPDATE]
      scope: "*"
  # Not configurable: without this check, an invalid profile would be noticed only when pods are rejected.
  failurePolicy: Fail
  matchPolicy: Equivalent
  sideEffects: None
  timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
  # The release's own profiles are created before its servers are ready. Their errors are in their status. They are all
  # ClusterSidecarProfiles, so the label does not exempt SidecarProfiles from the check.
  matchConditions:
    - name: not-made-by-the-release
      expression: >-
        request.operation != 'CREATE' || request.resource.resource != 'clustersidecarprofiles' ||
        !has(object.metadata.labels) ||
        !('outrigger.dev/catalogue' in object.metadata.labels)
# Warns about the deletion of a profile that namespaces or other profiles name. It never rejects a deletion.
- name: deleted.profiles.outrigger.dev
  admissionReviewVersions: [v1]
  clientConfig:
    service:
      name: {{ include "outrigger.fullname" . }}
      namespace: {{ .Release.Namespace }}
      path: /validate
      port: 443
    {{- with include "outrigger.caBundle" . }}
    {{- . | nindent 4 }}
    {{- end }}
  rules:
    - apiGroups: [outrigger.dev]
      apiVersions: [v1alpha1]
      resources: [clustersidecarprofiles, sidecarprofiles]
      operations: [DELETE]
      scope: "*"
  failurePolicy: Ignore
  matchPolicy: Equivalent
  sideEffects: None
  timeoutSeconds: 2
{{- if .Values.webhook.advise.enabled }}
# Workloads whose pods would match the entries for pods. Users get the pods' warnings when they apply the workload.
- name: workloads.outrigger.dev
  {{- include "outrigger.adviseWebhook" (dict "root" . "path" "/advise/namespace") | nindent 2 }}
  namespaceSelector:
    matchExpressions:
      - key: outrigger.dev/inject
        operator: Exists
      {{- include "outrigger.namespaceNotExcluded" . | nindent 6 }}
- name: labelled.workloads.outrigger.dev
  {{- include "outrigger.adviseWebhook" (dict "root" . "path" "/advise/template") | nindent 2 }}
    # An objectSelector would match the workload's own labels, not those of its template.
    - name: label-in-the-template
      expression: >-
        {{- include "outrigger.misplacedKeys" . | nindent 8 }} ||
        (request.kind.kind == 'CronJob'
        ? has(object.spec.jobTemplate.spec.template.metadata) &&
        has(object.spec.jobTemplate.spec.template.metadata.labels) &&
        'outrigger.dev/inject' in object.spec.jobTemplate.spec.template.metadata.labels
        : has(object.spec.template.metadata) && has(object.spec.template.metadata.labels) &&
        'outrigger.dev/inject' in object.spec.template.metadata.labels)
  namespaceSelector:
    matchExpressions:
      - key: outrigger.dev/inject
        operator: DoesNotExist
      {{- include "outrigger.namespaceNotExcluded" . | nindent 6 }}
{{- end }}
{{- end }}

{{- define "outrigger.installedWebhooks" -}}
{{- include "outrigger.fullname" . }}-webhooks
{{- end }}
