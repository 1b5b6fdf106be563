"""Trains a network by a recipe, and predicts with it. Each file imports only from those above it:

device        batches split among several devices
fused         batch normalisation and AdamW, each computed by a single kernel
mixing        MixUp and CutMix
losses        the loss of a recipe, and the weights of the classes
batches       shuffled batches of training images
resizing      training on smaller images than those that a network is for
compiled      one compiled network per architecture, shared by all its models
checkpoint    the saved state of a training run, after each epoch and at its end
fit           the training loop, with the best epoch chosen on validation
predict       probabilities of many images
features      what goes into the last layers of a network
lesions       small networks whose inputs are lesions instead of images
experiment    the model variants of a notebook: trained, evaluated and recorded
external      published models asked about images of other clinics

`make bench` measures how much faster this trains than stock Keras: see benchmarks/README.md.
"""
