"""The idea of each method in this repository, as `idea_drawing` draws it; tests compare them with the code."""

from __future__ import annotations

from idea_drawing import Idea, average, frozen, loss, memory, sample, step, trained

__all__ = ["IDEAS"]

IMAGE = sample("image", 0, 0.5, "image")
VIEWS = {"a": sample("view 1", 1, 0, "view 1"), "b": sample("view 2", 1, 1, "view 2")}
SIAMESE = {
    "x": IMAGE,
    **VIEWS,
    "f": trained("backbone", 2, 0, rows=2, kept=True),
    "g": trained("projection/head", 3, 0, "projection_head", rows=2),
}
MULTI_CROP = {
    "small": sample("small crops", 0, 1, "small crops"),
    "masked": sample("large crops,/half masked", 0, 2, "block masked"),
    "large": sample("large crops", 0, 3, "large crops"),
    "f": trained("student", 1, 1, "mask_token", rows=2),
    "t": average("teacher", 1, 3, "target", kept=True),
    "cls": step("class/tokens", 2, 1),
    "patch": step("masked/patches", 2, 2),
    "both": step("both kinds/of tokens", 2, 3),
    "dino": loss("class token:/of another view", 5, 1),
    "mim": loss("patch: of the/same view", 5, 2),
}

IDEAS: dict[str, Idea] = {
    "barlow-twins": Idea(
        "Two views of an image go through one network. The correlations between the dimensions of the two embeddings, "
        "over the batch, are to be the identity matrix.",
        {
            **SIAMESE,
            "c": step("correlations of/dimensions,/over the batch", 4, 0, rows=2),
            "loss": loss("diagonal: 1,/all others: 0", 5, 0.5),
        },
        "x > a > f > g > c > loss; x > b > f",
    ),
    "byol": Idea(
        "The online network predicts, from one view, what the target makes of the other view; then the views change "
        "places. The target is a moving average of the online network and gets no gradient.",
        {
            "x": IMAGE,
            **VIEWS,
            "f": trained("backbone", 2, 0, kept=True),
            "g": trained("projection/head", 3, 0, "projection_head"),
            "q": trained("prediction/head", 4, 0, "prediction_head"),
            "t": average("target:/backbone", 2, 1, "target"),
            "tg": average("target:/head", 3, 1),
            "loss": loss("cosine/similarity", 5, 0.5),
        },
        "x > a > f > g > q > loss; x > b > t > tg | loss; f ~ t; g ~ tg",
        left_out=("criterion",),
    ),
    "cpc": Idea(
        "The backbone turns a signal into steps. A GRU reads the steps so far and predicts the next ones, which must "
        "be found among steps of all signals.",
        {
            "x": sample("signal", 0, 0, "signal"),
            "f": trained("backbone", 1, 0, kept=True),
            "z": sample("steps", 2, 0, "steps"),
            "c": trained("GRU: what/came before", 3, 0, "context"),
            "w": trained("one layer for/each step ahead", 4, 0, "predictors"),
            "next": step("the steps/to come", 3, 1),
            "others": step("steps of/all signals", 3, 2),
            "loss": loss("find the step/to come among/the others", 5, 1),
        },
        "x > f > z > c > w > loss; z > next > loss; z > others > loss",
    ),
    "data2vec": Idea(
        "The student sees an image with blocks of patches masked, and predicts there the mean of the teacher's top "
        "blocks. The teacher, a moving average of the student, sees the whole image.",
        {
            "x": IMAGE,
            "a": sample("blocks/masked", 1, 0, "most masked"),
            "b": sample("whole", 1, 1, "patches"),
            "f": trained("backbone", 2, 0, "mask_token", kept=True),
            "h": trained("linear layer, at/masked patches", 3, 0, "regression_head"),
            "t": average("teacher", 2, 1, "teacher"),
            "m": step("mean of its/top blocks", 3, 1),
            "loss": loss("smooth L1/distance", 4, 0.5),
        },
        "x > a > f > h > loss; x > b > t > m | loss; f ~ t",
    ),
    "diet": Idea(
        "Each training sample is a class of its own. From one view, a linear layer tells which sample it is.",
        {
            "x": IMAGE,
            "a": sample("view", 1, 0, "view 1"),
            "n": sample("its number", 1, 1, "number"),
            "f": trained("backbone", 2, 0, kept=True),
            "c": trained("linear layer,/a row a sample", 3, 0, "classifier"),
            "loss": loss("cross-entropy,/smoothed labels", 4, 0.5),
        },
        "x > a > f > c > loss; x > n > loss",
    ),
    "dino": Idea(
        "The student sees large and small crops, the teacher the large ones. Over prototypes, the student's "
        "distribution of each crop must match the teacher's of another crop. The teacher is a moving average of the "
        "student.",
        {
            "x": sample("image", 0, 1, "image"),
            "small": sample("small crops", 1, 0, "small crops"),
            "large": sample("large crops", 1, 1, "large crops"),
            "f": trained("student:/backbone", 2, 0, rows=2),
            "h": trained("head,/prototypes", 3, 0, "projection_head", "last_layer", rows=2),
            "t": average("teacher:/backbone", 2, 2, "target", kept=True),
            "th": average("teacher: head,/prototypes", 3, 2),
            "c": step("center,/sharpen", 4, 2, "center"),
            "loss": loss("cross-entropy/to other crops", 5, 0.5),
        },
        "x > small > f > h > loss; x > large > f; large > t > th > c | loss; f ~ t; h ~ th",
    ),
    "dinov2": Idea(
        "iBOT's two losses with a head for each, teacher's assignments that use all prototypes equally "
        "(Sinkhorn-Knopp), and KoLeo, which spreads the class tokens of the large crops. With `gram`, patches must "
        "also stay as similar to each other as those of an earlier teacher.",
        {
            **MULTI_CROP,
            "h": trained("head, prototypes", 3, 1, "projection_head", "last_layer"),
            "ph": trained("head, prototypes", 3, 2, "patch_projection_head", "patch_last_layer"),
            "th": average("teacher's heads", 3, 3),
            "c": step("Sinkhorn-/Knopp", 4, 3),
            "koleo": loss("KoLeo: far from/the nearest", 5, 0),
        },
        "small > f > cls > h > dino; masked > f > patch > ph > mim; cls > koleo; large > t > both > th > c | dino; "
        "c | mim; f ~ t; ph ~ th",
    ),
    "distill": Idea(
        "A frozen teacher and the student see the same view, in which two images are mixed. The student's features "
        "must be as similar to those of past batches as the teacher's are.",
        {
            "x": sample("image", 0, 1, "image"),
            "v": sample("view, mixed/with another", 1, 1, "view 2"),
            "f": trained("student:/backbone", 2, 0, kept=True),
            "h": trained("linear/layer", 3, 0, "projection_head"),
            "t": frozen("teacher", 2, 2, "teacher_model"),
            "q": memory("teacher's/features of/past batches", 3, 1, "queue"),
            "s1": step("similarities", 4, 0),
            "s2": step("similarities", 4, 2),
            "loss": loss("divergence", 5, 1),
        },
        "x > v > f > h > s1 > loss; v > t > s2 | loss; q > s1; q > s2; t > q",
    ),
    "ibot": Idea(
        "DINO's loss on class tokens, and the same loss on masked patches: the student, which does not see them, must "
        "match what the teacher makes of the same patches of the whole crop.",
        {
            **MULTI_CROP,
            "h": trained("head,/prototypes", 3, 1, "projection_head", "last_layer", rows=2),
            "th": average("teacher's head", 3, 3),
            "c": step("center,/sharpen", 4, 3, "center", "patch_center"),
        },
        "small > f > cls > h > dino; masked > f > patch > h > mim; large > t > both > th > c | dino; c | mim; f ~ t; "
        "h ~ th",
    ),
    "ijepa": Idea(
        "From the tokens of one part of an image, the context, a narrow transformer predicts the teacher's tokens of "
        "four other blocks. The teacher, a moving average of the backbone, sees the whole image.",
        {
            "x": sample("image", 0, 1.5, "image"),
            "where": sample("where the/targets are", 2, 0, "targets"),
            "a": sample("context", 1, 1, "context"),
            "b": sample("whole", 1, 2, "patches"),
            "f": trained("backbone", 2, 1),
            "p": trained("predictor", 3, 1, "predictor"),
            "t": average("teacher", 2, 2, "teacher", kept=True),
            "y": step("tokens of/the targets", 3, 2),
            "loss": loss("smooth L1/distance", 4, 1.5),
        },
        "x > a > f > p > loss; where > p; x > b > t > y | loss; f ~ t",
    ),
    "lejepa": Idea(
        "The embedding of each view is to be near the mean of the large views' embeddings. A statistical test, SIGReg, "
        "keeps all embeddings distributed as a standard Gaussian; there is no teacher and no stopped gradient.",
        {
            "x": IMAGE,
            "a": sample("small crops", 1, 0, "small crops"),
            "b": sample("large crops", 1, 1, "large crops"),
            "f": trained("backbone", 2, 0, rows=2, kept=True),
            "g": trained("projection/head", 3, 0, "projection_head", rows=2),
            "m": step("mean of the/large crops", 4, 1),
            "near": loss("squared/distance", 5, 0),
            "sigreg": loss("Gaussian in all/directions?", 4, 2),
        },
        "x > a > f > g > near; x > b > f; g > m > near; g > sigreg",
    ),
    "lfr": Idea(
        "Small predictors must tell from the backbone's features what frozen random networks make of the same sample. "
        "Backbone and predictors train in turns; nothing is augmented.",
        {
            "x": sample("image, signal/or row", 0, 0.5, "image"),
            "f": trained("backbone", 1, 0, kept=True),
            "p": trained("six predictors", 2, 0, "predictors"),
            "r": frozen("six random/networks", 1, 1, "projectors"),
            "y": step("their outputs", 2, 1),
            "loss": loss("Barlow Twins,/sample by sample", 3, 0.5),
        },
        "x > f > p > loss; x > r > y | loss",
        left_out=("adapter", "selection", "criterion"),
    ),
    "mae": Idea(
        "The backbone sees a quarter of the patches. A light decoder, with a mask token in each other place, predicts "
        "the pixels of the patches that were dropped.",
        {
            "x": IMAGE,
            "a": sample("a quarter/is seen", 1, 0, "visible patches"),
            "b": sample("the others'/pixels", 1, 1, "hidden patches"),
            "f": trained("backbone", 2, 0, kept=True),
            "d": trained("decoder", 3, 0, "decoder"),
            "loss": loss("squared/distance", 4, 0.5),
        },
        "x > a > f > d > loss; x > b > loss",
    ),
    "moco": Idea(
        "A view's query must find its key, which a moving average of the network makes of the other view, among the "
        "keys of past batches (v2, drawn here). In v3 the other keys are those of the batch, and a prediction head "
        "follows the projection.",
        {
            "x": IMAGE,
            **VIEWS,
            "f": trained("backbone", 2, 0, kept=True),
            "g": trained("projection/head", 3, 0, "projection_head"),
            "q": step("query", 4, 0),
            "t": average("target:/backbone", 2, 1, "target"),
            "tg": average("target:/head", 3, 1),
            "k": step("key", 4, 1),
            "queue": memory("queue: keys of/past batches", 4, 2, "queue"),
            "loss": loss("find the key/among all keys", 5, 1),
        },
        "x > a > f > g > q > loss; x > b > t > tg > k | loss; k > queue > loss; f ~ t; g ~ tg",
    ),
    "nnclr": Idea(
        "Of one view's projection the most similar past projection must find the prediction made of the other view, "
        "among the predictions of the batch; then the views change places.",
        {
            **SIAMESE,
            "n": memory("support set:/nearest neighbor", 4, 0, "queue"),
            "q": trained("prediction/head", 4, 1, "prediction_head"),
            "loss": loss("find it among/the predictions", 5, 0.5),
        },
        "x > a > f > g > n | loss; x > b > f; g > q > loss",
    ),
    "scarf": Idea(
        "In a copy of each row, 60 % of the features are replaced by values that they have in other rows. A row must "
        "find its own copy among the copies of all rows in the batch.",
        {
            "x": sample("row", 0, 0, "row"),
            "m": memory("values of/other rows", 0, 1, "marginals"),
            "b": sample("copy,/60 % replaced", 1, 1, "changed row"),
            "f": trained("backbone", 2, 0, rows=2, kept=True),
            "g": trained("projection/head", 3, 0, "projection_head", rows=2),
            "loss": loss("find the own copy/in the batch", 4, 0.5),
        },
        "x > f > g > loss; x > b > f; m > b",
    ),
    "simclr": Idea(
        "Two views of an image go through one network. Each view must find the other one of its image among all views "
        "of the batch.",
        {**SIAMESE, "loss": loss("find the other view/in the batch:/NT-Xent", 4, 0.5)},
        "x > a > f > g > loss; x > b > f",
        left_out=("criterion",),
    ),
    "simmim": Idea(
        "Squares of an image are masked by a learned token. The backbone computes all patches, and one linear layer "
        "predicts the pixels of the masked ones.",
        {
            "x": IMAGE,
            "a": sample("squares/masked", 1, 0, "most masked"),
            "b": sample("their pixels", 1, 1, "masked patches"),
            "f": trained("backbone", 2, 0, "mask_token", kept=True),
            "d": trained("linear/layer", 3, 0, "decoder"),
            "loss": loss("absolute/difference", 4, 0.5),
        },
        "x > a > f > d > loss; x > b > loss",
    ),
    "simsiam": Idea(
        "One network predicts, from one view, its own projection of the other view, through which no gradient flows; "
        "then the views change places. There is no second network.",
        {
            **SIAMESE,
            "q": trained("prediction/head", 4, 0, "prediction_head"),
            "y": step("projection", 4, 1),
            "loss": loss("cosine/similarity", 5, 0.5),
        },
        "x > a > f > g > q > loss; x > b > f; g > y | loss",
        left_out=("criterion",),
    ),
    "swav": Idea(
        "Projections are compared with prototypes. Each large crop is assigned to prototypes, so that all are used "
        "equally over the batch, and the other crops must predict the assignment.",
        {
            "a": sample("small crops", 0, 0, "small crops"),
            "b": sample("large crops", 0, 1, "large crops"),
            "f": trained("backbone", 1, 0, rows=2, kept=True),
            "g": trained("projection/head", 2, 0, "projection_head", rows=2),
            "c": trained("prototypes", 3, 0, "prototypes", rows=2),
            "s": step("scores of/every crop", 4, 0),
            "k": step("equal shares:/Sinkhorn-Knopp", 4, 1),
            "loss": loss("cross-entropy/to other crops", 5, 0.5),
        },
        "a > f > g > c > s > loss; b > f; c > k | loss",
    ),
    "tfc": Idea(
        "One network encodes the signal, another one its spectrum. Each must find its own changed version in the "
        "batch, and the projections of both must agree on which sample it is.",
        {
            "a": sample("signal", 0, 1, "signal"),
            "b": sample("with noise", 0, 2, "noisy signal"),
            "c": sample("spectrum", 0, 3, "spectrum"),
            "d": sample("changed", 0, 4, "changed spectrum"),
            "f": trained("backbone:/time", 1, 1, rows=2, kept=True),
            "e": trained("encoder of/frequency", 1, 3, "frequency_encoder", rows=2),
            "p": trained("projector", 2, 1, "time_projector", rows=2),
            "q": trained("projector", 2, 3, "frequency_projector", rows=2),
            "lt": loss("find the changed/signal", 2, 0.1),
            "lf": loss("find the changed/spectrum", 2, 4.9),
            "lc": loss("time and frequency/agree: triplets", 3, 2.5),
        },
        "a > f > p > lc; b > f > lt; c > e > q > lc; d > e > lf",
    ),
    "tnc": Idea(
        "A discriminator tells from the features of two windows whether they lie near each other in time. Other "
        "windows may be alike all the same, so a small share of them counts as neighbors.",
        {
            "x": sample("signal", 0, 1, "signal"),
            "a": sample("window", 1, 0, "window"),
            "b": sample("neighbors", 1, 1, "near windows"),
            "c": sample("other windows", 1, 2, "other windows"),
            "f": trained("backbone", 2, 0, rows=3, kept=True),
            "d": trained("discriminator/of pairs with/the window", 3, 0, "discriminator", rows=3),
            "loss": loss("neighbors: near;/others: most/are not", 4, 1),
        },
        "x > a > f > d > loss; x > b > f; x > c > f",
    ),
    "ts2vec": Idea(
        "Two crops of a signal overlap, and half of the moments of each are masked. Where they overlap, the features "
        "of a moment must find those of the same moment, at every scale of time.",
        {
            "x": sample("signal", 0, 0.5, "signal"),
            "a": sample("crop 1,/masked", 1, 0, "crop 1"),
            "b": sample("crop 2,/masked", 1, 1, "crop 2"),
            "f": trained("backbone", 2, 0, rows=2, kept=True),
            "m": step("moments that/both crops have;/maxima over/2, 4, 8, ...", 3, 0, rows=2),
            "samples": loss("find it among/other samples", 4, 0),
            "time": loss("find it among/other moments", 4, 1),
        },
        "x > a > f > m > samples; x > b > f; m > time",
    ),
    "vicreg": Idea(
        "Two views of an image go through one network, and their embeddings are to be near each other. Two terms of "
        "the batch keep the embeddings from collapsing: every dimension varies, and no two covary.",
        {
            **SIAMESE,
            "z": step("embeddings/of the batch", 4, 0, rows=2),
            "s": loss("near each other", 5, -0.1),
            "v": loss("every dimension/varies", 5, 0.5),
            "c": loss("no two covary", 5, 1.1),
        },
        "x > a > f > g > z > s; x > b > f; z > v; z > c",
    ),
    "vime": Idea(
        "Some features of a row are replaced by values that they have in other rows. From the backbone's features of "
        "that row one layer tells which were replaced, another what all of them were.",
        {
            "x": sample("row", 0, 1, "row"),
            "marginals": memory("values of/other rows", 0, 2, "marginals"),
            "m": sample("which were", 1, 0, "replaced"),
            "b": sample("some/replaced", 1, 1.5, "changed row"),
            "r": sample("the row", 1, 3, "row"),
            "f": trained("backbone", 2, 1.5, kept=True),
            "me": trained("linear layer", 3, 1, "mask_estimator"),
            "fe": trained("linear layer", 3, 2, "feature_estimator"),
            "bce": loss("which were/replaced?", 4, 1),
            "mse": loss("what were/they all?", 4, 2),
        },
        "x > b > f > me > bce; marginals > b; f > fe > mse; x > m > bce; x > r > mse",
    ),
}
