"""Parameters that are not trained."""

from fnmatch import fnmatchcase

from torch import nn

from counterpoise.train._optimizer import NORMS, names_of_head, some_names


def freeze(net: nn.Module, what: str, head: str = "") -> None:
    """Set `requires_grad=False` on some of a net's parameters; make the optimizer afterwards.

    Batch norms all of whose parameters are frozen stay in evaluation mode while `fit` trains: they
    normalize by their running statistics, and keep them.

    Args:
        net: changed in place.
        what: "none"; "backbone", all parameters outside of the head; "norms", those of the norm
            layers (torch's, and subclasses of them); or shell patterns of their names, separated
            by commas, such as "body.conv1.*, body.layer[12].*" (`fnmatch`).
        head: the module path of the head, such as "body.fc", for "backbone".

    Raises:
        ValueError: a head without parameters, a pattern (or "norms") that matches no parameter, or
            one that leaves none to train.

    Example:
        >>> from torch import nn
        >>> from counterpoise.train import freeze
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> freeze(net, "backbone", head="2")
        >>> [name for name, p in net.named_parameters() if p.requires_grad]
        ['2.weight', '2.bias']
    """
    if what == "none":
        return
    named = dict(net.named_parameters())
    frozen: set[str] = set()
    if what == "backbone":
        frozen = named.keys() - names_of_head(net, head)
    elif what == "norms":
        norms = [m for m in net.modules() if isinstance(m, NORMS)]
        own = {id(p) for norm in norms for p in norm.parameters(recurse=False)}
        frozen = _some("norms", {name for name, p in named.items() if id(p) in own}, net)
    else:
        for pattern in map(str.strip, what.split(",")):
            frozen |= _some(pattern, {name for name in named if fnmatchcase(name, pattern)}, net)
    if not any(p.requires_grad for name, p in named.items() if name not in frozen):
        raise ValueError(
            f"freeze must leave parameters to train, but {what!r} takes all of {some_names(net)}"
        )
    for name in frozen:
        named[name].requires_grad_(False)
    for path, module in net.named_modules():  # norms without parameters keep statistics, too
        if isinstance(module, nn.modules.batchnorm._NormBase) and not list(module.parameters()):
            outside = what == "backbone" and not f"{path}.".startswith(f"{head}.")
            module.frozen_statistics = what == "norms" or outside  # pyrefly: ignore


def _some(what: str, found: set[str], net: nn.Module) -> set[str]:
    """Return the names that were found, or refuse to freeze nothing."""
    if not found:
        raise ValueError(
            "freeze must be none, backbone, norms or patterns of parameter names, but "
            f"{what!r} matches none of {some_names(net)}"
        )
    return found


def train_mode(net: nn.Module) -> None:
    """Put a net into training mode, but for its frozen batch norms."""
    net.train()
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats:
            own = list(module.parameters(recurse=False))
            frozen = own and not any(p.requires_grad for p in own)
            module.train(not (frozen or getattr(module, "frozen_statistics", False)))
