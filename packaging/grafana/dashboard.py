#!/usr/bin/env python3
"""Writes ledge.json, the Grafana dashboard: python3 dashboard.py >ledge.json. A test compares them."""
import json
import sys

SOURCE = {"type": "prometheus", "uid": "${source}"}
WHERE = 'instance=~"$instance"'
MODEL = WHERE + ',model=~"$model"'


def panel(number, title, x, y, width, queries, unit="short", kind="timeseries", **more):
    return {
        "id": number, "title": title, "type": kind, "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": width, "h": 8},
        "targets": [{"refId": chr(65 + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
                    for i, (expr, legend) in enumerate(queries)],
        "fieldConfig": {"defaults": {"unit": unit, **more}, "overrides": []},
        "options": {},
    }


def variable(name, label, query):
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "query": query, "definition": query,
            "refresh": 2, "multi": True, "includeAll": True, "current": {"text": "All", "value": "$__all"}}


def quantile(q):
    return f"histogram_quantile({q}, sum by (le, model) (rate(ledge_inference_latency_seconds_bucket{{{MODEL}}}[$__rate_interval])))"


SEVERITY = {"mappings": [{"type": "value", "options": {
    "0": {"text": "fine", "color": "green"}, "1": {"text": "warning", "color": "orange"},
    "2": {"text": "high", "color": "red"}}}], "min": 0, "max": 2}

panels = [
    panel(1, "Requests a second", 0, 0, 8,
          [(f"sum by (model, version) (rate(ledge_inferences_total{{{MODEL}}}[$__rate_interval]))", "{{model}}/{{version}}"),
           (f"sum by (model) (rate(ledge_inference_failures_total{{{MODEL}}}[$__rate_interval]))", "{{model}} failed")], "reqps"),
    panel(2, "Latency", 8, 0, 8, [(quantile(q), "{{model}} p" + str(int(q * 100))) for q in (0.5, 0.9, 0.99)], "s"),
    panel(3, "Answers by status", 16, 0, 8,
          [(f"sum by (code) (rate(ledge_http_responses_total{{{WHERE}}}[$__rate_interval]))", "{{code}}")], "reqps"),
    panel(4, "Drift", 0, 8, 8, [(f"max by (model, version) (ledge_drift_severity{{{MODEL}}})", "{{model}}/{{version}}")],
          kind="state-timeline", **SEVERITY),
    panel(5, "Mean confidence", 8, 8, 8, [(f"ledge_confidence_mean_ratio{{{MODEL}}}", "{{model}}/{{version}} {{instance}}")],
          "percentunit", min=0, max=1),
    panel(6, "Drift measures", 16, 8, 8, [(f"ledge_drift_measure{{{MODEL}}}", "{{model}} {{measure}} {{feature}}")]),
    panel(7, "Alerts", 0, 16, 8, [(f"ledge_alert_severity{{{WHERE}}}", "{{subject}} {{alert}}")],
          kind="state-timeline", **SEVERITY),
    panel(8, "CPU and memory", 8, 16, 8,
          [(f"ledge_machine_cpu_ratio{{{WHERE}}}", "cpu {{instance}}"), (f"ledge_machine_memory_ratio{{{WHERE}}}", "memory {{instance}}"),
           (f"ledge_machine_disk_ratio{{{WHERE}}}", "disk {{instance}}")], "percentunit", min=0, max=1),
    panel(9, "Temperature", 16, 16, 8, [(f"ledge_machine_temperature_celsius{{{WHERE}}}", "{{instance}}")], "celsius"),
    panel(10, "Requests that wait", 0, 24, 8, [(f"ledge_queue_requests{{{WHERE}}}", "{{instance}}")]),
    panel(11, "Network", 8, 24, 8,
          [(f"ledge_machine_net_received_bytes_per_second{{{WHERE}}}", "in {{instance}}"),
           (f"ledge_machine_net_sent_bytes_per_second{{{WHERE}}}", "out {{instance}}")], "Bps"),
    panel(12, "Memory of the server", 16, 24, 8, [(f"ledge_machine_process_memory_bytes{{{WHERE}}}", "{{instance}}")], "bytes"),
]

json.dump({
    "title": "ledge", "uid": "ledge", "tags": ["ledge"], "schemaVersion": 38, "version": 1, "editable": True,
    "time": {"from": "now-6h", "to": "now"}, "refresh": "30s",
    "templating": {"list": [
        {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}},
        variable("instance", "Server", "label_values(ledge_uptime_seconds, instance)"),
        variable("model", "Model", "label_values(ledge_model_info, model)")]},
    "panels": panels,
}, sys.stdout, indent=1)
print()
