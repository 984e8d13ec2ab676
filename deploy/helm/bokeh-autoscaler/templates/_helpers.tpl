{{/* The name of the daemon's objects; 54 + "-policies" is what a name may have. */}}
{{- define "bokeh-autoscaler.name" -}}
{{- $release := .Release.Name -}}
{{- if not (contains .Chart.Name $release) -}}
{{- $release = printf "%s-%s" $release .Chart.Name -}}
{{- end -}}
{{- .Values.fullnameOverride | default $release | trunc 54 | trimSuffix "-" -}}
{{- end -}}

{{- define "bokeh-autoscaler.labels" -}}
app.kubernetes.io/name: {{ include "bokeh-autoscaler.name" . }}
{{- end -}}

{{- define "bokeh-autoscaler.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "bokeh-autoscaler.name" .) -}}
{{- end -}}

{{/* The Lease that its daemons share, or none. */}}
{{- define "bokeh-autoscaler.lease" -}}
{{- .Values.lease | default (include "bokeh-autoscaler.name" .) -}}
{{- end -}}

{{/* The namespaces whose Deployments it may scale, as a YAML list. */}}
{{- define "bokeh-autoscaler.namespaces" -}}
{{- .Values.watchNamespaces | default (list .Release.Namespace) | uniq | toYaml -}}
{{- end -}}

{{/* image and pullPolicy of a container. Takes a list: the root, the image's values. */}}
{{- define "bokeh-autoscaler.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
image: {{ printf "%s:%s" $image.repository ($image.tag | default $root.Chart.AppVersion) }}
{{- with $image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- end -}}

{{- define "bokeh-autoscaler.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "bokeh-autoscaler.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* The proxy's files, after the Services and the port of its app. */}}
{{- define "bokeh-autoscaler.proxyFiles" -}}
{{- range $path, $_ := .Files.Glob (printf "files/%s/*" .Values.proxy.kind) }}
{{ base $path }}: |
{{- $text := $.Files.Get $path | replace "bokeh-app-" (printf "%s-" $.Values.proxy.app) }}
{{- $text | replace ":5006" (printf ":%d" (int $.Values.proxy.port)) | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The policies in force, with the example's, as a YAML list. */}}
{{- define "bokeh-autoscaler.policies" -}}
{{- $policies := .Values.policies -}}
{{- if .Values.example.enabled -}}
{{- $target := dict "namespace" .Release.Namespace "deployment" "bokeh-app" -}}
{{- $policies = append $policies (merge (dict "name" "bokeh-app" "target" $target) .Values.example.policy) -}}
{{- end -}}
{{- $policies | toYaml -}}
{{- end -}}

{{/* Refuses what the schema cannot see: two policies of one name, targets that are not watched, two
daemons that know nothing of each other. */}}
{{- define "bokeh-autoscaler.check" -}}
{{- if and (eq .Values.lease "none") (gt (int .Values.replicas) 1) -}}
{{- fail (printf "replicas: %d daemons would all act without a Lease: set lease, or replicas to 1" (int .Values.replicas)) -}}
{{- end -}}
{{- $namespaces := include "bokeh-autoscaler.namespaces" . | fromYamlArray -}}
{{- $seen := list -}}
{{- range include "bokeh-autoscaler.policies" . | fromYamlArray -}}
{{- if has .name $seen -}}
{{- fail (printf "policies: %q is there twice: give each its own name" .name) -}}
{{- end -}}
{{- $seen = append $seen .name -}}
{{- if not (has .target.namespace $namespaces) -}}
{{- fail (printf "policies: the target of %q is in namespace %q: add it to watchNamespaces" .name .target.namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}
