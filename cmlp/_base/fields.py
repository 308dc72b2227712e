"""Frozen values whose fields declare what they hold: checks, repr and configuration come from the declarations.

    @declared
    class Exponential(Schedule):                     a family of values: Schedule(Declared)
        name: ClassVar[str] = "exponential"          how it is found and saved

        factor: float = number(above=0, below=1)     0 < factor < 1
        every: int = count(default=1)                a whole number >= 1

The class is a frozen dataclass. What a rule needs that holds between fields stands in `_check`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from functools import cache, partial
from typing import Any, ClassVar, TypeAlias, TypeVar, dataclass_transform

from cmlp._base.checks import check_count, check_flag, check_name, check_number, shown
from cmlp._base.hints import named_arguments

T = TypeVar("T")
Family = TypeVar("Family", bound="Declared")
Check: TypeAlias = Callable[[Any, str], Any]

_NO_DEFAULT: Any = dataclasses.MISSING
MAX_DEPTH = 50  # of configurations in configurations: more is a mistake, or a hostile file


def checked(
    check: Check | None = None,
    *,
    default: Any = _NO_DEFAULT,
    kw_only: bool = False,
    compare: bool = True,
    family: type[Declared] | None = None,
    setting: str | None = None,
) -> Any:
    """Return a field that keeps check(value, the field's name).

    Parameters
    ----------
    check : callable, optional
        Returns what is kept, or raises TypeError or ValueError.
    default : object, optional
        A default of None is kept as it is.
    kw_only, compare : bool
        As of dataclasses. What is only a keyword is left out of the repr where it is the default.
    family : type, optional
        Of the declared value, or values, that a configuration has in this place.
    setting : str, optional
        The setting of a step in the compiled core that the field decides.
    """
    facts = {"check": check, "family": family, "setting": setting}
    return dataclasses.field(default=default, kw_only=kw_only, compare=compare, metadata=facts)


def number(
    *,
    default: float | None = _NO_DEFAULT,
    minimum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    kw_only: bool = False,
    setting: str | None = None,
) -> Any:
    """Return a field for a finite number within bounds, kept as a float: `check_number`."""
    check = partial(check_number, minimum=minimum, above=above, below=below)
    return checked(check, default=default, kw_only=kw_only, setting=setting)


def count(*, default: int = _NO_DEFAULT, minimum: int = 1) -> Any:
    """Return a field for a whole number from a minimum on: `check_count`."""
    return checked(partial(check_count, minimum=minimum), default=default)


def flag(*, default: bool = _NO_DEFAULT, setting: str | None = None) -> Any:
    """Return a field for True or False."""
    return checked(check_flag, default=default, setting=setting)


def choice(known: Collection[str], *, default: str | None = _NO_DEFAULT) -> Any:
    """Return a field for one of the known names."""
    return checked(lambda value, what: check_name(value, known, what), default=default)


@dataclass_transform(frozen_default=True, field_specifiers=(checked, number, count, flag, choice))
def declared(cls: type[T]) -> type[T]:
    """Make a class with declared fields a frozen dataclass that explains unknown keyword arguments.

    >>> @declared
    ... class Ring(Declared):
    ...     radius: float = number(above=0)
    ...     closed: bool = flag(default=True)
    >>> Ring(3)
    Ring(radius=3.0, closed=True)
    >>> Ring(0)
    Traceback (most recent call last):
    ValueError: radius must be a finite number with 0 < radius, not 0 (int)
    >>> Ring(radios=1)
    Traceback (most recent call last):
    TypeError: Ring() got an unexpected keyword argument 'radios': did you mean 'radius'?
    """
    kind = dataclasses.dataclass(frozen=True, repr=False)(cls)
    kind.__init__ = named_arguments(kind.__init__)  # type: ignore[method-assign]
    return kind


class Declared:
    """Base class of the values with declared fields.

    A family of them is a direct subclass; its members are its subclasses in cmlp that declare a name of their own.
    """

    noun: ClassVar[str]  # what messages call a value of the family
    config_key: ClassVar[str] = "name"  # the class attribute with the name, and its key in configurations
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    _depth: ClassVar[int] = 0  # how many values lie in each other; of one that holds others an attribute of its own

    def __post_init__(self) -> None:
        """Check every field, and then what holds between them."""
        kind: Any = type(self)
        for name, check, may_be_none in _checks(kind):
            value = getattr(self, name)
            if value is not None or not may_be_none:
                object.__setattr__(self, name, check(value, name))
        self._check()
        if _nested(kind):
            object.__setattr__(self, "_depth", 1 + max((part._depth for part in self._parts()), default=0))
            if self._depth > MAX_DEPTH:
                raise ValueError(f"{self.noun}s are nested more than {MAX_DEPTH} deep: write them flat")

    def __repr__(self) -> str:
        """Show the fields, but those that are only keywords where they are the default."""
        if not dataclasses.is_dataclass(self):
            return super().__repr__()
        fields = [(f, getattr(self, f.name)) for f in dataclasses.fields(self)]
        said = [f"{f.name}={value!r}" for f, value in fields if not f.kw_only or value != f.default]
        return f"{type(self).__name__}({', '.join(said)})"

    def _check(self) -> None:
        """Check what holds between fields, each of which is checked."""

    @classmethod
    def _check_config(cls, given: dict[str, Any]) -> None:
        """Check what holds for values in configurations only."""

    def _parts(self) -> Iterator[Declared]:
        """Yield the declared values in the fields that may hold some."""
        kind: Any = type(self)
        for name, _ in _nested(kind):
            value = getattr(self, name)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Declared):
                    yield part

    def _store(self, **values: object) -> None:
        """Set checked fields: the way past frozen=True, before anyone has seen the value."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _saved(self) -> dict[str, Any]:
        """Return the fields that a configuration has."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def to_config(self) -> dict[str, Any]:
        """Return the value as a dict of JSON values, which `from_config` reads. A user's subclass is its base.

        Raises
        ------
        TypeError
            If it has no base with a name.

        Examples
        --------
        >>> import cmlp
        >>> cmlp.EMA(0.9).to_config()
        {'name': 'ema', 'decay': 0.9}
        """
        name = next(filter(None, map(own_name, type(self).__mro__)), None)
        if name is None:
            raise TypeError(
                f"a {type(self).__name__} cannot be saved: it is no {self.noun} of cmlp's, nor made from one"
            )
        return {self.config_key: name, **{key: _plain(value) for key, value in self._saved().items()}}


def _plain(value: Any) -> Any:
    """Return a field's value as a JSON value."""
    if isinstance(value, Declared):
        return value.to_config()
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def own_name(kind: type[Any]) -> str | None:
    """Return the name that a class of cmlp declares itself. What users derive may be gone when a file is read.

    >>> from cmlp.averaging import EMA
    >>> own_name(EMA)
    'ema'
    """
    return vars(kind).get(kind.config_key) if kind.__module__.startswith("cmlp.") else None


def members(family: type[Family]) -> dict[str, type[Family]]:
    """Return the classes of a family by their names, in the order of their definition.

    >>> from cmlp.averaging import Averaging
    >>> members(Averaging)
    {'ema': <class 'cmlp.averaging.EMA'>, 'swa': <class 'cmlp.averaging.SWA'>}
    """
    found: dict[str, type[Family]] = {}
    for kind in family.__subclasses__():
        found |= {name: kind} if (name := own_name(kind)) else {}
        found |= members(kind)
    return found


def from_config(family: type[Family], config: Any, depth: int = 0) -> Family:
    """Return the value that `Declared.to_config` described; ValueError on anything malformed.

    >>> from cmlp.averaging import Averaging
    >>> from_config(Averaging, {"name": "swa", "start": 3})
    SWA(start=3)
    """
    noun, key = family.noun, family.config_key
    hashable: Any = family
    if not isinstance(config, dict) or depth > MAX_DEPTH:
        wanted = f"a dict with its {key!r}, at most {MAX_DEPTH} deep"
        raise ValueError(f"malformed {noun} {shown(config)}: expected {wanted}")
    given = dict(config)
    try:
        known = _known(hashable)
        kind: Any = known[check_name(given.pop(key, None), known, noun)]
        kind._check_config(given)
        for name, part in _nested(kind):
            if isinstance(given.get(name), dict):
                given[name] = from_config(part, given[name], depth + 1)
            elif isinstance(given.get(name), list):
                given[name] = tuple(from_config(part, value, depth + 1) for value in given[name])
        value: Family = kind(**given)
        return value
    except TypeError as error:
        raise ValueError(f"malformed {noun} {shown(config)}: {error}") from error


@cache
def _known(family: Any) -> dict[str, type[Declared]]:
    """Return `members`, which do not change once their module is imported; a file may ask for them a million times."""
    return members(family)


@cache
def _checks(kind: Any) -> list[tuple[str, Check, bool]]:
    """Return a class's checked fields: name, check, and whether None is the default."""
    found = ((f, f.metadata.get("check")) for f in dataclasses.fields(kind))
    return [(f.name, check, f.default is None) for f, check in found if check is not None]


@cache
def _nested(kind: Any) -> list[tuple[str, type[Declared]]]:
    """Return the fields that hold declared values, with the family of these."""
    return [(f.name, f.metadata["family"]) for f in dataclasses.fields(kind) if f.metadata.get("family")]


def settings_of(value: Declared) -> dict[str, Any]:
    """Return the settings of the core that a value's fields decide. None decides nothing.

    >>> import cmlp
    >>> settings_of(cmlp.RMSprop(momentum=0.5, weight_decay=0.1, max_norm=3))["max_norm"]
    3.0
    """
    kind: Any = type(value)
    fields = fields_by_setting(kind).items()
    return {s: decided for s, name in fields if (decided := getattr(value, name)) is not None}


@cache
def fields_by_setting(kind: Any) -> dict[str, str]:
    """Return the settings of the core that a class's fields decide, each with the name of its field.

    >>> import cmlp
    >>> fields_by_setting(cmlp.RMSprop)["beta2"]
    'beta'
    """
    return {f.metadata["setting"]: f.name for f in dataclasses.fields(kind) if f.metadata.get("setting")}
