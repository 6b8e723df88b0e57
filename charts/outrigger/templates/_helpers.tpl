{{- define "outrigger.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/*
At most 50 characters, so that names with a suffix, such as the Secret's, are still DNS labels.
*/}}
{{- define "outrigger.fullname" -}}
{{- $name := include "outrigger.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "outrigger.selectorLabels" -}}
app.kubernetes.io/name: {{ include "outrigger.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "outrigger.labels" -}}
{{ include "outrigger.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: outrigger
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "outrigger.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "outrigger.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "outrigger.certificateSecret" -}}
{{- include "outrigger.fullname" . }}-certificates
{{- end }}

{{/*
Name of the Lease. Servers with external certificates write no CA, so they use a separate Lease. After a change of
`certificates.source` to SelfManaged, a new server can then become leader while old servers still run.
*/}}
{{- define "outrigger.lease" -}}
{{- include "outrigger.fullname" . }}
{{- if ne .Values.certificates.source "SelfManaged" }}-external{{ end }}
{{- end }}

{{/*
Name of the Secret that is mounted for the serving certificate; empty with SelfManaged.
*/}}
{{- define "outrigger.mountedSecret" -}}
{{- if eq .Values.certificates.source "CertManager" -}}
{{- include "outrigger.fullname" . }}-tls
{{- else if eq .Values.certificates.source "Files" -}}
{{- required "certificates.files.secretName: required; set the name of the Secret with tls.crt and tls.key" .Values.certificates.files.secretName }}
{{- end }}
{{- end }}

{{/*
`caBundle` of every webhook entry, with Files only. With SelfManaged, the leader writes it, and an upgrade does not change
it. With CertManager, cainjector writes it.
*/}}
{{- define "outrigger.caBundle" -}}
{{- if eq .Values.certificates.source "Files" -}}
caBundle: {{ required "certificates.files.caBundle: required; set the CA of the certificate, PEM" .Values.certificates.files.caBundle | b64enc }}
{{- end }}
{{- end }}

{{- define "outrigger.clientCA" -}}
{{- include "outrigger.fullname" . }}-client-ca
{{- end }}

{{- define "outrigger.injectCa" -}}
{{- if eq .Values.certificates.source "CertManager" -}}
cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/{{ include "outrigger.fullname" . }}
{{- end }}
{{- end }}

{{- define "outrigger.configurationName" -}}
{{- default (include "outrigger.fullname" .) .Values.webhook.configurationName }}
{{- end }}

{{- define "outrigger.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/*
Namespaces without injection. The servers get `excludedNamespaces` as flags, and always add the first three themselves.
*/}}
{{- define "outrigger.excludedNamespaces" -}}
{{- concat (list "kube-system" "kube-node-lease" .Release.Namespace) .Values.excludedNamespaces | uniq | toYaml }}
{{- end }}

{{- define "outrigger.containerSecurityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
{{- end }}

{{- define "outrigger.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ . | int64 }}
runAsGroup: {{ . | int64 }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}
