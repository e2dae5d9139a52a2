"""Every import that the documentation names goes on working, wherever the code behind it moves.

The lists are written by hand and only grow: what is in them is in somebody's script.
"""

import importlib

import pytest

PUBLIC = {
    "s2e_optuna": """
        CoTeachingObjective S2EClassifier S2ESampler Schedule __version__ best_schedule
        load_model open_storage suggest_schedule suggest_simplex""",
    "s2e_optuna.cli": "app main",
    "s2e_optuna.estimator": "S2EClassifier",
    "s2e_optuna.objective": "CoTeachingObjective Outcome",
    "s2e_optuna.final_comparison": "final_seeds",
    "s2e_optuna.scores": "SCORED MethodScore last_epochs mean_of_last",
    "s2e_optuna.sampler": """
        Generation S2ESampler best_schedule generations recommended_trial""",
    "s2e_optuna.schedules": """
        BASIS_NAMES SCHEDULE_ATTR SPACES WARM_TAUS Schedule Space basis_function coteaching_params
        get_space schedule_kind simplex_from_uniform simplex_groups simplex_parameter_names
        suggest_schedule suggest_simplex trial_schedule uniform_from_simplex""",
    "s2e_optuna.relaxation": """
        DIRECTIONS Block Estimate Family GaussianProcess Prior Update gradient_direction
        limited_step natural_direction newton_direction score_estimate surrogate_estimate""",
    "s2e_optuna.relaxation.family": "Block Family",
    "s2e_optuna.relaxation.estimates": "Estimate score_estimate surrogate_estimate",
    "s2e_optuna.relaxation.steps": """
        DIRECTIONS gradient_direction limited_step natural_direction newton_direction""",
    "s2e_optuna.training": """
        AUGMENTATIONS CURVES DATA_OPTIONS DATA_SETS EXECUTIONS METHODS NETWORKS NOISE_KINDS Augment
        Augmentation BatchView Checkpoint ComparisonProgress DataError EpochReport Expectation
        ImageFiles InMemory Method Model NetworkFactory Noise NoisyData OnImages ScheduleLike
        StackedModels Suspect SuspectQuality TorchvisionStatus TrainConfig TrainResult TrainingPass
        Unseen check_execution check_folds check_labels_path check_network corrupt_labels
        corrupt_labels_by_instance evaluate_schedules expectation from_arrays get_method
        is_matrix_file load_data load_model make_network predict_proba read_labels read_suspects
        read_transition_matrix resolve_device save_labels save_model suspect_quality suspects
        suspects_of_models torchvision_status train transition_matrix unseen_probabilities unstack
        write_suspects""",
    "s2e_optuna.training.cross_validation": "Unseen check_folds unseen_probabilities",
    "s2e_optuna.training.wrong_labels": """
        LEAST_OF_A_CLASS PRIOR_SAMPLES true_label_probabilities""",
    "s2e_optuna.workers": "NoTablesError StorageError mask_password open_storage",
    "s2e_optuna.workers.config": "ConfigError SearchConfig",
    "s2e_optuna.workers.search": "SearchError SearchResult search",
    "s2e_optuna.workers.worker": "run_worker",
    "s2e_optuna.workers.proxy": "run_proxy",
    "s2e_optuna.artifacts.attach": "TrialArtifacts",
    "s2e_optuna.artifacts.folder": "artifact_folder",
    "s2e_optuna.reporting": """
        Band LearningCurves ScoredSchedule StudyView best_so_far_figure best_so_far_plot
        distribution_figure distribution_plot entropy_plot learning_figure publish read_study
        save_figure schedule_figure schedules_figure schedules_plot study_plots theta_figure""",
    "s2e_optuna.reporting.interactive": """
        best_so_far_plot distribution_plot entropy_plot schedules_plot""",
    "s2e_optuna.reporting.plots": """
        Band LearningCurves ScoredSchedule best_so_far_figure distribution_figure learning_figure
        save_figure schedule_figure schedules_figure theta_figure""",
    "s2e_optuna.reporting.view": "StudyView read_study scored_schedules",
}
"""Module to the names in it that are documented, or belong to what is."""

# Packages whose names are used from outside; a star import takes those in __all__.
FACES = (
    "s2e_optuna",
    "s2e_optuna.relaxation",
    "s2e_optuna.reporting",
    "s2e_optuna.sampler",
    "s2e_optuna.schedules",
    "s2e_optuna.training",
    "s2e_optuna.workers",
)


@pytest.mark.parametrize("module", PUBLIC)
def test_what_is_documented_can_be_imported(module):
    found = importlib.import_module(module)
    assert [name for name in PUBLIC[module].split() if not hasattr(found, name)] == []


@pytest.mark.parametrize("module", FACES)
def test_what_is_documented_is_in_all(module):
    listed = importlib.import_module(module).__all__
    assert set(PUBLIC[module].split()) - set(listed) == set()


def test_all_of_the_package_itself_is_exactly_this():
    """A new name here is a promise: add it to the list above, too."""
    assert sorted(importlib.import_module("s2e_optuna").__all__) == sorted(
        PUBLIC["s2e_optuna"].split()
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s2e_optuna.CoTeachingObjective", "s2e_optuna.objective.CoTeachingObjective"),
        ("s2e_optuna.S2EClassifier", "s2e_optuna.estimator.S2EClassifier"),
        ("s2e_optuna.S2ESampler", "s2e_optuna.sampler.S2ESampler"),
        ("s2e_optuna.Schedule", "s2e_optuna.schedules.Schedule"),
        ("s2e_optuna.load_model", "s2e_optuna.training.load_model"),
        ("s2e_optuna.open_storage", "s2e_optuna.workers.open_storage"),
        ("s2e_optuna.training.Unseen", "s2e_optuna.training.cross_validation.Unseen"),
    ],
)
def test_two_ways_to_a_name_lead_to_one_thing(one, other):
    """Else `isinstance` and `except` would tell them apart."""
    first, second = (
        getattr(importlib.import_module(module), name)
        for module, _, name in (path.rpartition(".") for path in (one, other))
    )
    assert first is second
