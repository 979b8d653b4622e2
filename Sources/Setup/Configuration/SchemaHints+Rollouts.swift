// Words of Argo Rollouts, Flagger and Spinnaker for the keys of a plan.

extension SchemaHints {
    static let rolloutNames: [String: [String: String]] = [
        "rollouts": ["plan": "plans", "path": "directory", "dir": "directory"],
        "rollout plan": [
            "steps": "stages", "weights": "stages", "version": "canary", "target": "service",
            "targetRef": "service", "canaryService": "canary", "stableService": "service",
            "analysis": "judge: { … }, or metrics", "strategy": "stages",
            "webhooks": "hooks: [{ events: [ … ], webhook: { url: … } }]",
            "alerts": "hooks: [{ events: [ … ], webhook: { url: … } }]",
            "thresholds": "absolute", "limits": "absolute", "timeout": "maxDuration",
            "progressDeadlineSeconds": "maxDuration: 1h",
            "approve": "stages: [{ …, approve: on }]", "stable": "stable in the service",
            "scaleDownDelaySeconds": "keepStable: 1h", "set": "inputs: [ … ]",
            "ramp": "stages: [{ ramp: { … } }]", "stepWeight": "stages: [{ ramp: { … } }]",
            "maxWeight": "stages: [{ ramp: { … } }]",
        ],
        "stage": [
            "setWeight": "weight: 5%", "share": "weight", "percent": "weight", "to": "weight",
            "pause": "approve: on, or minTime: 10m", "duration": "minTime",
            "interval": "minTime", "gate": "approve: on", "approval": "approve",
            "condition": "when", "if": "when", "windows": "window", "schedule": "window",
            "timeout": "maxTime", "analysis": "judge: { … }, or metrics",
            "setHeaderRoute": "match: { headers: { … } }",
            "falseRollbacks": "judge: { falseRollbacks: … } in the plan",
        ],
        "judge": [
            "falseRollbacks": "falseRollbacks in the plan's judge: it is of the whole rollout",
            "minTime": "minTime in the stage itself", "alpha": "falseRollbacks",
            "confidence": "falseRollbacks: 1%", "threshold": "maxIncrease",
            "tolerance": "tolerate",
        ],
        "tolerance": [
            "latency": "p95: 1.1", "p50": "p95, which stands for both", "p99": "p95",
            "errorRate": "points", "errors": "points",
        ],
        "absolute limits": [
            "errors": "errorRate", "latency": "p99", "successRate": "errorRate",
            "request-success-rate": "errorRate", "request-duration": "p99",
        ],
        "approval": ["users": "by", "groups": "by", "tokens": "by", "from": "by"],
        "metric": [
            "threshold": "max", "thresholdRange": "min: … and max: …",
            "successCondition": "min: … or max: …", "failureCondition": "min: … or max: …",
            "failureLimit": "failuresTotal", "consecutiveErrorLimit": "failures",
            "initialDelay": "delay", "query": "prometheus: { url: …, query: … }",
            "url": "web: { url: …, json: … }", "provider": "prometheus, web or command",
        ],
        "web metric": ["jsonPath": "json: /PATH/TO/THE/NUMBER", "path": "json", "pointer": "json"],
        "prometheus": ["address": "url", "expr": "query"],
        "hook": [
            "url": "webhook: { url: … }", "event": "events: [ … ]", "type": "events or before",
            "on": "events: [ … ]", "stage": "before", "exec": "command",
        ],
        "webhook": ["headers": "headersFile: FILE", "key": "secret: FILE", "type": "format"],
        "admin token": [
            "token": "file: FILE", "path": "file", "rights": "may", "can": "may",
            "permissions": "may", "role": "may: [ … ]",
        ],
        "rollback": ["minCapacity": "capacity", "endpoints": "capacity: 50%"],
    ]
}
