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

{{/* The name of its objects that are in no namespace: two releases have two. */}}
{{- define "bokeh-autoscaler.clusterName" -}}
{{- $name := include "bokeh-autoscaler.name" . -}}
{{- if eq $name .Release.Namespace -}}
{{- $name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Namespace $name -}}
{{- end -}}
{{- end -}}

{{/* The priority of all pods here. */}}
{{- define "bokeh-autoscaler.priority" -}}
{{- if .Values.priorityClassName -}}
priorityClassName: {{ .Values.priorityClassName }}
{{- else if .Values.priorityClass.create -}}
priorityClassName: {{ include "bokeh-autoscaler.clusterName" . }}
{{- end -}}
{{- end -}}

{{/* The namespaces whose Deployments it may scale, as a YAML list. */}}
{{- define "bokeh-autoscaler.namespaces" -}}
{{- .Values.watchNamespaces | default (list .Release.Namespace) | uniq | toYaml -}}
{{- end -}}

{{/* The namespace of an app that the chart brings, and of what stands before it. */}}
{{- define "bokeh-autoscaler.appNamespace" -}}
{{- include "bokeh-autoscaler.namespaces" . | fromYamlArray | first -}}
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

{{/* The annotations of a hook that removes what the daemon wrote. Takes its weight. */}}
{{- define "bokeh-autoscaler.removalHook" -}}
helm.sh/hook: post-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* The proxy's files, with the port of its app. */}}
{{- define "bokeh-autoscaler.proxyFiles" -}}
{{- range $path, $_ := .Files.Glob (printf "files/%s/*" .Values.proxy.kind) }}
{{ base $path }}: |
{{- if hasPrefix "trusted." (base $path) }}
{{- range $.Values.proxy.trustedProxies }}
  {{ . }}{{ if eq $.Values.proxy.kind "nginx" }} 1;{{ end }}
{{- end }}
{{- end }}
{{- $.Files.Get $path | replace ":5006" (printf ":%d" (int $.Values.proxy.port)) | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The policies in force, with the example's, as a YAML list. */}}
{{- define "bokeh-autoscaler.policies" -}}
{{- $policies := .Values.policies -}}
{{- if .Values.example.enabled -}}
{{- $target := dict "namespace" (include "bokeh-autoscaler.appNamespace" .) "deployment" "bokeh-app" -}}
{{- $policies = append $policies (merge (dict "name" "bokeh-app" "target" $target) .Values.example.policy) -}}
{{- end -}}
{{- $policies | toYaml -}}
{{- end -}}

{{/* Refuses what the schema cannot see: two policies of one name, targets that are not watched, two
daemons that know nothing of each other, an app that any site may drive. */}}
{{- define "bokeh-autoscaler.check" -}}
{{- $behindProxy := and .Values.proxy.enabled (eq .Values.proxy.app "bokeh-app") -}}
{{- if and .Values.example.enabled (not $behindProxy) (not .Values.example.websocketOrigin) -}}
{{- fail "example.websocketOrigin: name the host of your page, such as app.example.com, or set proxy.enabled" -}}
{{- end -}}
{{- if and .Values.journal.enabled .Values.journal.claimName (gt (int .Values.replicas) 1) -}}
{{- fail (printf "journal.claimName: %d daemons would write one journal: set replicas to 1" (int .Values.replicas)) -}}
{{- end -}}
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

{{/* Whoever may read metrics, as an entry of `from`. */}}
{{- define "bokeh-autoscaler.fromPrometheus" -}}
{{- $namespaces := prepend .Values.networkPolicy.prometheus.namespaces .Release.Namespace | uniq -}}
- namespaceSelector:
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: In
        values: {{- toYaml $namespaces | nindent 10 }}
  podSelector:
    {{- $labels := .Values.networkPolicy.prometheus.podLabels | default (dict "app.kubernetes.io/name" "prometheus") }}
    matchLabels: {{- toYaml $labels | nindent 6 }}
{{- end -}}

{{/* The Deployments of a namespace that policies name, as a YAML list. Takes a list: the root, it. */}}
{{- define "bokeh-autoscaler.targets" -}}
{{- $targets := list -}}
{{- range include "bokeh-autoscaler.policies" (index . 0) | fromYamlArray -}}
{{- if eq .target.namespace (index $ 1) -}}
{{- $targets = append $targets .target.deployment -}}
{{- end -}}
{{- end -}}
{{- $targets | uniq | toYaml -}}
{{- end -}}

{{/* The Deployments that policies name, as a YAML list. */}}
{{- define "bokeh-autoscaler.allTargets" -}}
{{- $targets := list -}}
{{- range include "bokeh-autoscaler.policies" . | fromYamlArray -}}
{{- $targets = append $targets .target.deployment -}}
{{- end -}}
{{- $targets | uniq | toYaml -}}
{{- end -}}

{{/* What the daemon may do with ScalingPolicies, and with the Deployments that they may name. */}}
{{- define "bokeh-autoscaler.rulesForResources" -}}
- apiGroups: [bokeh-autoscaler.io]
  resources: [scalingpolicies]
  verbs: [list, watch]
- apiGroups: [bokeh-autoscaler.io]
  resources: [scalingpolicies/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
{{- end -}}

{{/* What the daemon may do with apps. Takes a list: the root, and the names of targets as YAML. */}}
{{- define "bokeh-autoscaler.rules" -}}
{{- $lease := include "bokeh-autoscaler.lease" (index . 0) -}}
- apiGroups: [apps]
  resources: [deployments, replicasets]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch]
{{- with index . 1 | fromYamlArray }}
- apiGroups: [apps]
  resources: [deployments/scale]
  # The Deployments that policies name as their target.
  resourceNames: {{- toYaml . | nindent 4 }}
  verbs: [patch]
{{- end }}
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- if ne $lease "none" }}
# The Lease of versions before shards: the daemon looks whether one of them still acts.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ $lease }}]
  verbs: [get, patch]
{{- end }}
{{- end -}}
