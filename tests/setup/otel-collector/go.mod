// Builds an OpenTelemetry collector for the end-to-end tests over shippers. Nothing of it is part of Tripline.
module tripline.test/otel-collector

go 1.25.0

require (
	github.com/open-telemetry/opentelemetry-collector-contrib/exporter/kafkaexporter v0.165.1
	github.com/open-telemetry/opentelemetry-collector-contrib/receiver/filelogreceiver v0.165.1
	go.opentelemetry.io/collector/otelcol v0.165.0
)
