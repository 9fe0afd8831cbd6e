"""What the study's numbers say, in sentences that say no more than that.

    code   | what it is about
    -------|---------------------------------------------------------------
    CP201  | a network learned: test accuracy above guessing
    CP202  | a network did not learn: test accuracy cannot be told from guessing
    CP203  | a network is worse than guessing
    CP204  | signal and gradient of a network at the first step
    CP205  | why a network did not learn: signal or gradient vanish, unlike in those that learned
    CP206  | signal and gradient do not tell why a network did not learn
    CP207  | nothing to compare: all networks learned, or none did
    CP209  | one seed only (networks)
    CP301  | accuracy of two losses
    CP302  | balanced accuracy of two losses
    CP303  | macro-F1 of two losses
    CP304  | the classes that gain most recall
    CP305  | the classes that lose most recall
    CP306  | mean recall of the smallest classes
    CP309  | one seed only (losses)
    CP310  | what α that sums to less does to the first gradient
    CP311  | the first gradient once α has mean 1
    CP312  | which differences to cross entropy survive the rescaling of α

A sentence is a template, and every number in it comes from `evidence`, already rounded.

Noise means: two standard errors of the difference, from the finite number of test images. Both
models see the same images, which makes the true noise smaller rather than larger; noise between
seeds comes on top and one run of each cannot show it, so a sentence says that every time.
"""

from counterpoise.findings._finding import Finding
from counterpoise.findings._losses import compare_losses
from counterpoise.findings._networks import explain_norms
from counterpoise.findings._scale import explain_alpha

__all__ = ["Finding", "compare_losses", "explain_alpha", "explain_norms"]
