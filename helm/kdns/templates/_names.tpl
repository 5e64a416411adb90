{{- define "kdns.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name, with the chart's where it is not in it. */}}
{{- define "kdns.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Values files of the coredns chart may have templates with these names in them. */}}
{{- define "coredns.name" -}}{{ include "kdns.name" . }}{{- end -}}
{{- define "coredns.fullname" -}}{{ include "kdns.fullname" . }}{{- end -}}
{{- define "coredns.k8sapplabel" -}}{{ include "kdns.app" . }}{{- end -}}

{{/* The value of the label k8s-app. */}}
{{- define "kdns.app" -}}
{{- default .Chart.Name .Values.k8sAppLabelOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "kdns.deploymentName" -}}
{{- default (include "kdns.fullname" .) .Values.deployment.name -}}
{{- end -}}

{{- define "kdns.serviceName" -}}
{{- default (include "kdns.fullname" .) .Values.service.name -}}
{{- end -}}

{{- define "kdns.configMapName" -}}
{{- if and .Values.deployment.skipConfig .Values.deployment.existingConfigMap -}}
{{- .Values.deployment.existingConfigMap -}}
{{- else -}}
{{- include "kdns.fullname" . -}}
{{- end -}}
{{- end -}}

{{- define "kdns.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "kdns.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "kdns.clusterRoleName" -}}
{{- default (include "kdns.fullname" .) (dig "nameOverride" "" (.Values.clusterRole | default dict)) -}}
{{- end -}}

{{- define "kdns.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* A version as a label: an image may be named by its digest. */}}
{{- define "kdns.versionLabel" -}}
{{- .Values.image.tag | default .Chart.AppVersion | replace ":" "-" | replace "@" "_" | trunc 63 | trimSuffix "-" -}}
{{- end -}}
