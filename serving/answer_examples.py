"""Examples of answers for the OpenAPI document; mypy holds them to the types of the answers."""

from typing import cast

from readmit.client.answer_types import (
    BatchAnswer,
    Batches,
    BatchStay,
    CodeTable,
    Comparison,
    Explanation,
    FieldErrorCode,
    Freshness,
    Inbox,
    Liveness,
    ModelIdentity,
    ModelInfo,
    Monitoring,
    Outcomes,
    Prediction,
    ProblemCode,
    PromotionHistory,
    Quarantine,
    Readiness,
    ScoredStay,
    SubmittedFile,
)
from serving.problems import PROBLEMS

MODEL: ModelIdentity = {
    "name": "readmission",
    "version": "3",
    "run_id": "5f0c8e1d2b7a4c3e9f6a1b2c3d4e5f60",
}
REQUEST_ID = "0f9a3c1e-7b52-4d0e-9c61-2f8d5a7e4b10"
SCORED_STAY: ScoredStay = {
    "probability": 0.173,
    "risk": "high",
    "threshold": 0.12,
    "capacity": {"calls_per_100": 10, "threshold": 0.21, "risk": "low"},
    "history": "looked_up",
    "request_id": REQUEST_ID,
}
PREDICTION: Prediction = {
    **SCORED_STAY,
    "model": MODEL,
    "certainty": {
        "observed": {"figure": 0.18, "low": 0.15, "high": 0.21},
        "n_stays": 744,
        "is_unlike_training": False,
        "unusual_fields": [],
    },
}
BATCH_ANSWER: BatchAnswer = {
    "predictions": [cast(BatchStay, SCORED_STAY), None],
    "errors": [
        {
            "row": 1,
            "field": "gender",
            "code": FieldErrorCode.NOT_ALLOWED,
            "params": {},
            "detail": "is not one of the allowed values",
        }
    ],
    "allowed": {"gender": ["Female", "Male", "unknown"]},
    "model": MODEL,
    "request_id": REQUEST_ID,
}
BATCH_CSV = (
    "row,probability,risk,history,model_version,error,capacity_risk\r\n"
    "0,0.173,high,looked_up,3,,low\r\n"
    "1,,,,3,`gender`: is not one of the allowed values,\r\n"
)
EXPLANATION: Explanation = {
    "base": -2.31,
    "score": -1.56,
    "contributions": [
        {"feature": "n_prior_inpatient_stays", "value": 2, "contribution": 0.92},
        {"feature": "n_medications", "value": 8, "contribution": -0.17},
    ],
    "unit": "log-odds",
    "method": "effect of moving each field from its default to the value sent",
    "probability": 0.173,
    "history": "looked_up",
    "model": MODEL,
    "request_id": REQUEST_ID,
}
COMPARISON: Comparison = {
    "answers": [
        {
            "alias": "production",
            "model": MODEL,
            "probability": 0.173,
            "risk": "high",
            "threshold": 0.12,
            "capacity": {"calls_per_100": 10, "threshold": 0.21, "risk": "low"},
            "history": "looked_up",
            "request_id": REQUEST_ID,
        },
        {
            "alias": "previous",
            "model": None,
            "code": ProblemCode.VERSION_UNAVAILABLE,
            "params": {},
            "detail": PROBLEMS[ProblemCode.VERSION_UNAVAILABLE].detail,
        },
    ],
    "request_id": REQUEST_ID,
}
MODEL_INFO: ModelInfo = {
    "name": "readmission",
    "version": "3",
    "run_id": "5f0c8e1d2b7a4c3e9f6a1b2c3d4e5f60",
    "experiment_id": "1",
    "promoted_at": "2026-01-31T06:20:11+00:00",
    "threshold": 0.12,
    "metrics": {"auroc": {"figure": 0.67, "low": 0.66, "high": 0.68}},
    "contract": {
        "hash": "9b1c04e6a7d2f35880aa5e1c6d4f7b2390c8e1d4a6b7f2539e0c1d8a4f6b7e23",
        "version": 1,
        "features": [
            {
                "name": "n_medications",
                "role": "input",
                "kind": "number",
                "data_type": "integer",
                "description": "Distinct drugs given during the stay.",
                "values": None,
                "seed": None,
                "min": 0.0,
                "max": 81.0,
                "unit": "drugs",
                "default": 15,
                "form": {
                    "group": {"en": "Stay", "es": "Ingreso"},
                    "label": {"en": "Drugs", "es": "Medicamentos"},
                    "help": {"en": "", "es": ""},
                },
                "derive": None,
            }
        ],
        "label": {
            "name": "is_readmitted_30d",
            "data_type": "boolean",
            "description": "Readmitted within 30 days.",
        },
    },
    "capacity": [
        {
            "calls_per_100": 10,
            "threshold": 0.21,
            "called": {"figure": 0.1, "low": 0.09, "high": 0.11},
            "readmissions_found": {"figure": 0.25, "low": 0.22, "high": 0.28},
            "calls_per_readmission": {"figure": 3.5, "low": 3.1, "high": 3.9},
        }
    ],
    "score_bins": [{"lowest": 0.16, "n": 744, "figure": 0.18, "low": 0.15, "high": 0.21}],
    "model_card": "# Model card: readmission\n",
    "data_source": "uci",
}
CODE_TABLE: CodeTable = {"rows": [{"code": "1", "description": "Emergency"}]}
PROMOTION_HISTORY: PromotionHistory = {
    "promotions": [
        {
            "promotion_id": 3,
            "decided_at": "2026-01-31T06:20:11.000000+00:00",
            "decision": "promote",
            "model_name": "readmission",
            "challenger_version": "3",
            "production_version": "2",
            "challenger_score": 0.672,
            "production_score": 0.664,
            "gain": 0.008,
            "gain_low": 0.002,
            "gain_high": 0.014,
            "metric": "auroc",
            "data_fingerprint": "ab12",
            "contract_hash": "9b1c",
            "git_sha": "4fd2",
            "actor": "train_model",
            "reason": "better: the gain in AUROC is 0.008, its lower bound 0.002 is above 0",
            "evidence": {},
        }
    ]
}
BATCHES: Batches = {
    "batches": [
        {
            "batch_id": "uci-train-0001",
            "split": "train",
            "ordinal": 1,
            "first_source_row": 1,
            "last_source_row": 10_000,
            "n_rows": 10_000,
            "source_sha256": "c1d2",
            "content_sha256": "e3f4",
            "data_source": "uci",
            "status": "published",
            "supersedes": None,
            "n_quarantined": 12,
            "n_excluded": 240,
            "n_erased": 0,
            "reason": None,
            "loaded_at": "2026-01-30T04:00:12.000000+00:00",
            "published_at": "2026-01-30T04:01:03.000000+00:00",
            "dag_run_id": "scheduled__2026-01-30T04:00:00+00:00",
        }
    ]
}
SUBMITTED: SubmittedFile = {
    "name": "ward-3.csv",
    "file_sha256": "0689e7ec031237dc63031b938805c48377748761a3b26acab621567afa24df97",
    "n_bytes": 19_159_383,
}
INBOX: Inbox = {
    "files": [
        {
            "name": "ward-3.csv",
            "file_sha256": "0689e7ec031237dc63031b938805c48377748761a3b26acab621567afa24df97",
            "received_at": "2026-01-30T04:00:02.000000+00:00",
            "state": "rejected",
            "reason": "raw gate: age has values that the code list lacks",
            "n_rows": 840,
            "n_known": 600,
            "n_changed": 2,
        }
    ]
}
OUTCOMES: Outcomes = {
    "outcomes": [{"batch_id": "uci-train-0001", "n_stays": 9_748, "n_readmitted": 1_102}]
}
QUARANTINE: Quarantine = {
    "rows": [
        {
            "_batch_id": "uci-train-0001",
            "_source_row": 4711,
            "_build_id": "uci-train-0001",
            "encounter_id": 2278392,
            "patient_nbr": 8222157,
            "reason": "age is not a known value",
            "raw_values": {"age": "[100-110)"},
            "released_at": None,
            "released_by": None,
            "corrected": None,
        }
    ]
}
FRESHNESS: Freshness = {
    "freshness": [
        {
            "published_at": "2026-01-30T04:01:03.000000+00:00",
            "n_published": 12,
            "age_seconds": 5400.0,
        }
    ]
}
MONITORING: Monitoring = {
    "reports": [
        {
            "report_id": 41,
            "made_at": "2026-02-01T05:00:09.000000+00:00",
            "model_name": "readmission",
            "model_version": "3",
            "n_requests": 812,
            "verdict": "no drift",
            "evidence": {"n_reference": 5000, "features": [], "realised": []},
        }
    ]
}
LIVENESS: Liveness = {"status": "alive"}
READINESS: Readiness = {
    "status": "ready",
    "model": {**MODEL, "contract_hash": "9b1c", "from": "registry"},
    "beside": {},
    "registry": {"up": True, "checked_at": 1769840411.5, "error": None},
    "refused": None,
    "prediction_log": {"waiting": 0, "error": None},
}
NOT_READY: Readiness = {
    "status": "not ready",
    "model": None,
    "beside": {},
    "registry": {"up": False, "checked_at": 1769840411.5, "error": "ConnectError: refused"},
    "refused": None,
    "prediction_log": {"waiting": 0, "error": None},
}
METRICS = "# TYPE readmit_model gauge\nreadmit_model 1.0\n"
