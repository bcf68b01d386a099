"""Evaluate model: check that the photos did not change, and compare the model with the bars and the live model."""

from dataclasses import dataclass

from pipeline import evaluation, learning
from pipeline.evaluation import EvaluateModel, ModelEvaluated
from pipeline.jobs import jobs
from pipeline.settings import Settings as BaseSettings
from rules import states
from rules.bars import Bars
from stages.stage import measure, stage


@dataclass(frozen=True)
class Settings(BaseSettings):
    bucket: str
    min_f1: float
    min_label_f1: float
    max_f1_drop: float
    project_parameter: str
    model_parameter: str


settings = Settings.from_env()


@stage
def handler(request: EvaluateModel) -> ModelEvaluated:
    jobs.advance(request.job_id, states.EVALUATE_MODEL, Outlines=learning.for_record(request.outlines))
    evaluation.require_unchanged(request, bucket=settings.bucket)
    evaluated = evaluation.evaluate(
        request,
        floors=Bars(settings.min_f1, settings.min_label_f1, settings.max_f1_drop),
        project_parameter=settings.project_parameter,
        model_parameter=settings.model_parameter,
    )
    jobs.note(
        request.job_id,
        Passed=evaluated.passed,
        F1=evaluated.f1,
        Precision=evaluated.precision,
        Recall=evaluated.recall,
        Intervals=evaluated.intervals,
        InWords=evaluated.in_words,
        Labels=evaluated.labels,
        LiveModel=evaluated.live_model,
        LiveF1=evaluated.live_f1,
        Reasons=evaluated.reasons,
    )
    measure("None", F1=evaluated.f1, Precision=evaluated.precision, Recall=evaluated.recall)
    return evaluated
