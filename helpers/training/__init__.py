"""From a network and a recipe to a trained model and its predictions. Each file imports only from those above it:

device        images on the device, and the sharing of batches among several
fused         batch normalisation and AdamW, each step by one kernel
mixing        MixUp and CutMix
losses        the loss of a recipe, and the weights of the classes
batches       shuffled batches of training images
compiled      the network of one architecture, compiled once for all models that have it
checkpoint    the state of a training after each epoch and at its end
fit           the training loop, with the best epoch chosen on validation
predict       probabilities of many images
features      what goes into the last layers of a network
lesions       small networks that see lesions instead of images
experiment    the model variants of a notebook, trained, judged and recorded

What the compiled networks do faster than stock Keras, and by how much, is measured by `make bench`: see
benchmarks/README.md.
"""
