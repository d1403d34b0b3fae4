"""GBNF that holds an answer to one call of a granted tool with its arguments in order, or one short sentence.

It is written for evaluation; the engine writes its own from the granted tools' schemas.
"""

from __future__ import annotations

from utterances import TOOLS

RULES = {
    "": '"\\" " txt "\\""',
    "int": "int",
    "number": "num",
    "clock": '"\\"" [0-2] [0-9] ":" [0-5] [0-9] "\\""',
}


def _value(kind: str) -> str:
    if "|" in kind:
        return "(" + " | ".join(f'"\\" {choice}\\""' for choice in kind.split("|")) + ")"
    return RULES[kind]


def gbnf(tools: list[str], arguments: dict[str, list[str]] = TOOLS) -> str:
    out = [
        "root ::= call | say",
        'call ::= "{\\"tool\\":\\" " (' + " | ".join(f"t{i}" for i in range(len(tools))) + ') "}}"',
        'say ::= "{\\"say\\":\\" " [A-Za-z0-9 \',.?!]+ "\\"}"',
        "txt ::= [a-z0-9 '.:%&+-]+",
        'int ::= "-"? [0-9]+',
        'num ::= "-"? [0-9]+ ("." [0-9])?',
    ]
    for i, tool in enumerate(tools):
        fields = []
        for spec in arguments[tool]:
            key, _, kind = spec.partition(":")
            fields.append((key.rstrip("?"), key.endswith("?"), _value(kind)))
        rules: dict[str, str] = {}

        def rest(j: int, comma: bool) -> str:
            if j == len(fields):
                return '""'
            name = f"t{i}{'c' if comma else 'e'}{j}"
            if name not in rules:
                rules[name] = ""
                key, optional, value = fields[j]
                rule = ('"," ' if comma else "") + f'"\\"{key}\\":" {value} {rest(j + 1, True)}'
                if optional:
                    rule += " | " + rest(j + 1, comma)
                rules[name] = rule
            return name

        first = rest(0, False)
        out.append(f't{i} ::= "{tool}\\",\\"args\\":{{" {first}')
        out += [f"{name} ::= {rule}" for name, rule in rules.items()]
    return "\n".join(out)
