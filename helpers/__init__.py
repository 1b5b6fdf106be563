"""The packages of the study's code. Each imports only from those above it:

study         a study's parameters and folders; the error raised for mistakes that a user can correct
reading       tables and JSON files, read whole or refused by name
sentences     numbers, sentences and code as a notebook shows them
processes     processes that end with the one that started them
backend       seed, devices, versions
records       files that are written completely or not at all, and the records of runs
findings      the answer and the findings of a notebook
conclusions   the sentences that notebooks conclude from their numbers, one file per subject
demo          the generator of the embedded data
data          tables of lesions, downloads, pixel cache, split, duplicates
models        networks, augmentation and recipes, each defined once; published models
evaluation    predictions, bootstrap, scores, comparison, calibration, subgroups, abstention, leakage
training      batches, compiled networks, fit, predict, the experiment of a notebook
explanation   maps, tests of their faithfulness, artefacts
plots         one style for all figures, one file per kind of figure
export        the deployed network as ONNX and LiteRT, and how closely these files agree with it
running       steps and their manifests, trials, runner, jobs, cross-validation, search, report, verification

The modules `leakage` and `clinic` only print the new names of two commands.
"""
