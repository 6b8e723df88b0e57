{{/*
The webhooks of both configurations. They are rendered twice: into the configurations, and into the ConfigMap that the servers compare
the live configurations with.
*/}}
{{- define "outrigger.mutatingWebhooks" -}}
# Namespaces that carry the label's key, whatever its value: the server warns of a misspelt one.
- name: pods.outrigger.dev
  {{- include "outrigger.podWebhook" (dict "root" . "path" "/mutate/namespace") | nindent 2 }}
  namespaceSelector:
    matchExpressions:
      - key: outrigger.dev/inject
        operator: Exists
      {{- include "outrigger.namespaceNotExcluded" . | nindent 6 }}
# Elsewhere, only pods that carry it themselves.
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
# Updates of injected pods whose original manifest is applied again: what the injection changed in the pod's own fields stays.
# Controllers' updates of a pod's status do not come here.
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
  # Without an answer the API server judges the update by itself, as it does for pods without Outrigger.
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
  # Not a value: without the check a broken profile would show itself only when pods are refused.
  failurePolicy: Fail
  matchPolicy: Equivalent
  sideEffects: None
  timeoutSeconds: {{ .Values.webhook.timeoutSeconds }}
  # The release's own profiles are made before its servers are ready. What is wrong with one shows in its status. They are
  # ClusterSidecarProfiles, so the label does not exempt SidecarProfiles from the check.
  matchConditions:
    - name: not-made-by-the-release
      expression: >-
        request.operation != 'CREATE' || request.resource.resource != 'clustersidecarprofiles' ||
        !has(object.metadata.labels) ||
        !('outrigger.dev/catalogue' in object.metadata.labels)
# A profile that is deleted while namespaces or other profiles name it: a warning. A deletion never waits for a server.
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
# Workloads whose pods the entries for pods would be called for: whoever writes one hears what its pods would be told.
- name: workloads.outrigger.dev
  {{- include "outrigger.adviseWebhook" (dict "root" . "path" "/advise/namespace") | nindent 2 }}
  namespaceSelector:
    matchExpressions:
      - key: outrigger.dev/inject
        operator: Exists
      {{- include "outrigger.namespaceNotExcluded" . | nindent 6 }}
- name: labelled.workloads.outrigger.dev
  {{- include "outrigger.adviseWebhook" (dict "root" . "path" "/advise/template") | nindent 2 }}
    # A selector would look at the workload's own labels.
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
