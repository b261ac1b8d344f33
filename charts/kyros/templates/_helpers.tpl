{{/*
Names are fixed and do not hold the release's: the API knows the gateway by its service account, sidecars know the API by its
Service, and one namespace holds one Kyros.
*/}}

{{/* Labels of every object. Call with (list . "component"); the component may be empty. */}}
{{- define "kyros.labels" -}}
{{- $root := index . 0 -}}
{{ include "kyros.selector" . }}
app.kubernetes.io/part-of: kyros
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end }}

{{/* Labels that select a component's pods. The controller's NetworkPolicies name them too. */}}
{{- define "kyros.selector" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
app.kubernetes.io/name: kyros
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- with $component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{/* An image of Kyros. Call with (list . "api"). */}}
{{- define "kyros.image" -}}
{{- $root := index . 0 -}}
{{ $root.Values.image.registry }}/{{ index . 1 }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}
{{- end }}

{{/* Host and port of the public URL, as in a Host header. */}}
{{- define "kyros.publicAuthority" -}}
{{ regexReplaceAll "^https?://" .Values.publicUrl "" }}
{{- end }}

{{/* The public URL's host without the port. */}}
{{- define "kyros.publicHost" -}}
{{ regexReplaceAll ":[0-9]+$" (include "kyros.publicAuthority" .) "" }}
{{- end }}

{{/* Where sidecars and the gateway reach the API. */}}
{{- define "kyros.apiAuthority" -}}
kyros-api.{{ .Release.Namespace }}.svc:8080
{{- end }}

{{/* Pod Security Standards, "restricted": what is said of the pod. */}}
{{- define "kyros.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
# Volumes and projected tokens belong to this group. Not at every mount: that would let the group read the key in the state,
# and the API refuses such a key.
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Pod Security Standards, "restricted", and a read-only root besides: what is said of each container. */}}
{{- define "kyros.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Pods of a component on different nodes where that is possible, on the same ones where it is not. */}}
{{- define "kyros.spread" -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "kyros.selector" . | nindent 6 }}
{{- end }}

{{/* Labels of pods: what selects them, and nothing that a new version of the chart would change. */}}
{{- define "kyros.podLabels" -}}
{{ include "kyros.selector" . }}
app.kubernetes.io/part-of: kyros
{{- end }}

{{/* Who may sign in: the two files of the API. */}}
{{- define "kyros.identity" -}}
{{- if .Values.identity.mock.enabled }}
people.yaml: |
  {{- if .Values.identity.mock.people }}
  {{- toYaml .Values.identity.mock.people | nindent 2 }}
  {{- else }}
  {{- .Files.Get "files/people.yaml" | trimSuffix "\n" | nindent 2 }}
  {{- end }}
{{- end }}
{{- with .Values.identity.trustedIssuers }}
trusted-issuers.yaml: |
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
