"""Numbers and categories on paths of their own: tokens of both, a transformer block, one head.

Run: python examples/05_two_paths.py
"""

import jdl

task = jdl.tsk("mixed")  # numbers, categories, missing values
numbers = jdl.po("ingress_num") >> jdl.nn("tokenizer_num", d_token=16)
categories = jdl.po("ingress_categ") >> jdl.nn("tokenizer_categ", d_token=16)
net = (
    jdl.po("imputemedian")
    >> jdl.po("scale")
    >> [numbers, categories]
    >> jdl.nn("merge_cat", axis=1)
    >> jdl.nn("ft_transformer_block", attention_n_heads=4)
    >> jdl.nn("flatten")
    >> jdl.nn("head")
    >> jdl.po("loss", "cross_entropy")
    >> jdl.po("optimizer", "adamw", lr=2e-3)
    >> jdl.po("model_classif", epochs=20)
)
print(net.summary(task), end="\n\n")

learners = {
    "two paths": jdl.as_learner(net, predict_type="prob"),
    "one-hot MLP": jdl.po("imputemedian")
    >> jdl.po("encode")
    >> jdl.po("scale")
    >> jdl.lrn("classif.mlp", predict_type="prob"),
}
for name, learner in learners.items():
    rr = jdl.resample(task, learner, jdl.rsmp("cv", folds=5), key=0)
    print(f"{name}: AUC {rr.aggregate('classif.auc'):.3f}")
