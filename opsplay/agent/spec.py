"""Parameter types: what a module accepts, how a value is normalised, and how it is documented.

A module's PARAMS maps names to these types. `validate` is used by the control side before anything is sent,
and by `host.call` on the host. Values that YAML typed loosely (`"yes"`, `"22"`) are taken as Ansible takes them.
"""

from __future__ import annotations

from typing import Any, Iterable, Optional
from typing import Dict as DictOf

TRUE = frozenset(("y", "yes", "on", "1", "true", "t"))
FALSE = frozenset(("n", "no", "off", "0", "false", "f"))


class ParameterError(Exception):
    """A parameter that is unknown, missing, or of the wrong type. `name` is the parameter's."""

    def __init__(self, name: str, message: str) -> None:
        Exception.__init__(self, message)
        self.name = name
        self.message = message


class Param:
    """The base of every parameter type.

    `default` None means "not given". `aliases` are other names that playbooks use. `secret` values are masked
    wherever they would be shown.
    """

    type_name = "value"
    __slots__ = ("default", "required", "aliases", "help", "secret")

    def __init__(
        self,
        required: bool = False,
        default: Any = None,
        help: str = "",
        aliases: Iterable[str] = (),
        secret: bool = False,
    ) -> None:
        self.required = required
        self.default = default
        self.help = help
        self.aliases = tuple(aliases)
        self.secret = secret

    def convert(self, value: Any) -> Any:
        """The normalised value. Raises ValueError with what was expected."""
        return value

    def describe(self) -> str:
        """The type as documentation shows it."""
        return self.type_name


class Raw(Param):
    """Any value, as it is."""

    __slots__ = ()


class Str(Param):
    type_name = "string"
    __slots__ = ()

    def convert(self, value: Any) -> Any:
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "True" if value else "False"
        if isinstance(value, (int, float)):
            return str(value)
        raise ValueError("expected a string, not %s" % kind_of(value))


class Path(Str):
    """A path on the host; `~` and variables are expanded on the host, not here."""

    type_name = "path"
    __slots__ = ()

    def convert(self, value: Any) -> Any:
        text = Str.convert(self, value)
        if "\0" in text:
            raise ValueError("a path cannot hold a null character")
        return text


class Name(Str):
    """A name that becomes part of a path or of a command line: no slash, no leading dash, no control character."""

    type_name = "name"
    __slots__ = ()

    def convert(self, value: Any) -> Any:
        text = Str.convert(self, value)
        if not text or "/" in text or text.startswith("-") or any(ord(char) < 32 for char in text):
            raise ValueError("%r cannot be a name: no slash, no leading dash, no control character" % text)
        return text


class Int(Param):
    type_name = "integer"
    __slots__ = ("min", "max")

    def __init__(self, min: Optional[int] = None, max: Optional[int] = None, **options: Any) -> None:
        Param.__init__(self, **options)
        self.min = min
        self.max = max

    def convert(self, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("expected an integer, not a boolean")
        try:
            number = int(value) if not isinstance(value, float) or value == int(value) else int("x")
        except (TypeError, ValueError):
            raise ValueError("expected an integer, not %r" % (value,))
        if self.min is not None and number < self.min:
            raise ValueError("%d is below the least allowed, %d" % (number, self.min))
        if self.max is not None and number > self.max:
            raise ValueError("%d is above the most allowed, %d" % (number, self.max))
        return number


class Float(Param):
    type_name = "number"
    __slots__ = ()

    def convert(self, value: Any) -> Any:
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ValueError("expected a number, not %r" % (value,))


class Bool(Param):
    type_name = "boolean"
    __slots__ = ()

    def convert(self, value: Any) -> Any:
        return to_bool(value)


class Mode(Param):
    """Permission bits: "0644", 0644, or symbolic such as "u=rw,go=r"; "preserve" where a module allows it."""

    type_name = "mode"
    __slots__ = ()

    def convert(self, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("expected a mode such as \"0644\", not a boolean")
        if isinstance(value, int):
            number = value
        else:
            text = Str().convert(value)
            if not text or text.strip("01234567"):
                return self._symbolic(text)
            number = int(text, 8)
        if not 0 <= number <= 0o7777:
            raise ValueError("mode %o is out of range; quote it, as in \"0644\"" % number)
        return number

    @staticmethod
    def _symbolic(text: str) -> str:
        if text == "preserve":
            return text
        for clause in text.split(","):
            who = clause.lstrip("ugoa")
            if len(who) < 1 or who[0] not in "+-=" or who.strip("+-=rwxXstugo"):
                raise ValueError("%r is not a mode; write it as \"0644\" or \"u=rw,go=r\"" % text)
        return text


class Choice(Param):
    """One of a few words. YAML turns yes/no into booleans: they are matched by their word."""

    type_name = "choice"
    __slots__ = ("choices",)

    def __init__(self, *choices: str, **options: Any) -> None:
        Param.__init__(self, **options)
        self.choices = choices

    def convert(self, value: Any) -> Any:
        if isinstance(value, bool):
            for word in ("yes", "true", "on") if value else ("no", "false", "off"):
                if word in self.choices:
                    return word
        text = value if isinstance(value, str) else str(value)
        if text not in self.choices:
            raise ValueError("%r is not one of %s" % (text, ", ".join(self.choices)))
        return text

    def describe(self) -> str:
        return " | ".join(self.choices)


class List(Param):
    """A list; a single value becomes a list of one, and a string is split at commas, as Ansible does."""

    type_name = "list"
    __slots__ = ("of", "split")

    def __init__(self, of: Optional[Param] = None, split: bool = True, **options: Any) -> None:
        Param.__init__(self, **options)
        self.of = of or Raw()
        self.split = split

    def convert(self, value: Any) -> Any:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")] if self.split else [value]
        elif isinstance(value, (int, float, dict)):
            value = [value]
        if not isinstance(value, (list, tuple)):
            raise ValueError("expected a list, not %s" % kind_of(value))
        return [self.of.convert(item) for item in value]

    def describe(self) -> str:
        return "list of %s" % self.of.describe()


class Dict(Param):
    type_name = "dictionary"
    __slots__ = ("of",)

    def __init__(self, of: Optional[Param] = None, **options: Any) -> None:
        Param.__init__(self, **options)
        self.of = of or Raw()

    def convert(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("expected a dictionary, not %s" % kind_of(value))
        return {str(key): self.of.convert(item) for key, item in value.items()}


class Params(dict):  # type: ignore[type-arg]
    """A module's validated parameters, read as attributes: every declared name is there."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name)


def kind_of(value: Any) -> str:
    """The value's type in the words of YAML."""
    if value is None:
        return "nothing"
    for kind, word in ((bool, "a boolean"), (int, "a number"), (float, "a number"), (str, "a string"),
                       (dict, "a dictionary"), (list, "a list"), (tuple, "a list")):
        if isinstance(value, kind):
            return word
    return type(value).__name__


def to_bool(value: Any) -> bool:
    """A boolean as playbooks write it: true, yes, on, 1 and their opposites. Raises ValueError."""
    if isinstance(value, bool):
        return value
    text = str(value).lower().strip()
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise ValueError("expected a boolean, not %r" % (value,))


def canonical_names(declared: DictOf[str, Param]) -> DictOf[str, str]:
    """Every accepted name of a parameter, aliases included, with the name it stands for."""
    names = {}
    for name, param in declared.items():
        names[name] = name
        for alias in param.aliases:
            names[alias] = name
    return names


def validate(declared: DictOf[str, Param], given: DictOf[str, Any]) -> Params:
    """All declared parameters, normalised or by default. Raises ParameterError, naming the first that is wrong."""
    names = canonical_names(declared)
    result = Params()
    for name, value in given.items():
        target = names.get(name)
        if target is None:
            raise ParameterError(name, "unknown parameter '%s'" % name)
        if target in result and result[target] != value:
            raise ParameterError(name, "'%s' and its alias are both given" % target)
        if value is not None:
            try:
                value = declared[target].convert(value)
            except ValueError as problem:
                raise ParameterError(name, "parameter '%s': %s" % (name, problem))
        result[target] = value
    for name, param in declared.items():
        if result.get(name) is None:
            if param.required:
                raise ParameterError(name, "missing parameter '%s'" % name)
            default = param.default
            # A default list or dictionary belongs to this call alone.
            result[name] = default.copy() if isinstance(default, (list, dict)) else default
    return result
