"""Ten-fold cross-validation of a network beside classical baselines, on equal folds.

Run: python examples/01_quickstart.py
"""

import jdl

task = jdl.tsk("breast_cancer")
print(task, end="\n\n")

mlp = jdl.lrn(
    "classif.mlp", neurons=(100, 100), epochs=50, batch_size=32, validate=0.2, patience=10, predict_type="prob"
)
learners = {
    "MLP (100, 100)": jdl.po("scale") >> mlp,
    "featureless": jdl.lrn("classif.featureless", predict_type="prob"),
    "logistic regression": jdl.po("scale") >> jdl.lrn("classif.log_reg", predict_type="prob"),
    "random forest": jdl.lrn("classif.random_forest", predict_type="prob"),
    "gradient boosting": jdl.lrn("classif.hist_gradient_boosting", predict_type="prob"),
}
measures = jdl.msrs("classif.acc", "classif.auc", "classif.logloss")
folds = jdl.rsmp("cv", folds=10)

print(f"{'learner':<20}" + "".join(f"{measure.id:>22}" for measure in measures) + f"{'seconds':>10}")
plans = {}
for name, learner in learners.items():
    result = jdl.resample(task, learner, folds, key=0)
    scores = result.score(measures)
    cells = [f"{scores[m.id].mean():.4f} ± {scores[m.id].std():.4f}" for m in measures]
    print(f"{name:<20}" + "".join(f"{cell:>22}" for cell in cells) + f"{result.seconds:>10.2f}")
    plans[name] = (result.plan, result.compile_seconds, result.run_seconds)

print("\nMean ± standard deviation over the ten folds, which are the same for all learners.")
for name, (plan, compiling, running) in plans.items():
    print(f"{name}: {plan}; compiled in {compiling:.2f} s, ran in {running:.2f} s")
