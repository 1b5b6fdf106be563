"""What a notebook found: the sentences of its Summary, which the index of the study repeats."""

from helpers.records import Run, write_json
from helpers.sentences import say
from helpers.study import ROOT, asked_question


class Findings:
    """The answer and the findings of a notebook, shown as its Summary and written to `findings.json` in its results.

    A finding is one sentence that is put together from the study's numbers, with interval and n. Add it where the
    notebook has computed them, so that the number is at hand, or just before the Summary:

        findings = Findings(run)
        findings.add(
            f"The CNN {by_sign(lead, above='beats', below='loses to', unclear='cannot be separated from')} the "
            f"baseline: {with_interval(lead)} on {pluralise(n, 'test image')}."
        )
        findings.write(answer=f"A plain CNN reaches a balanced accuracy of {with_interval(reached)}.")

    `write` stands in a cell of its own below the heading `## Summary`. It shows the answer and, under "What we found",
    the findings. A Markdown cell with "### What to take away" follows, which holds in every study. The question is that
    of the opening cell. Tag cells that only add or write findings with `hide-input`. `by_sign`, `clear_sign`, `join`,
    `pluralise` and `with_interval` (helpers.sentences) turn the sentence round when the numbers do: test it with
    numbers that should.
    """

    def __init__(self, run: Run):
        self.run = run
        self.question = asked_question(ROOT / "notebooks" / f"{run.notebook}.ipynb")
        self.sentences: list[str] = []

    def add(self, sentence: str) -> None:
        """Add a finding. Raises ValueError unless it is a sentence with a number that was not added before."""
        if not sentence.endswith(".") or not any(map(str.isdigit, sentence)) or sentence in self.sentences:
            raise ValueError(f"not a new sentence with a number: {sentence!r}")
        self.sentences.append(sentence)

    def write(self, answer: str) -> None:
        """Show the Summary and write `findings.json`. Raises ValueError unless there are two to five findings."""
        if not 2 <= len(self.sentences) <= 5:
            raise ValueError(f"a notebook has two to five findings, not {len(self.sentences)}")
        content = {"notebook": self.run.notebook, "question": self.question, "answer": answer}
        write_json(self.run.folder / "findings.json", content | {"findings": self.sentences})
        found = "\n".join(f"- {sentence}" for sentence in self.sentences)
        say(f"**{self.question}** {answer}\n\n### What we found\n\n{found}")
