"""The groups of the user pool in which people sign in to the labelling page."""

LABELLERS = "labellers"
REVIEWERS = "reviewers"

GROUPS = {
    LABELLERS: "May label the photos of the training pipeline.",
    REVIEWERS: "May label photos, and review and correct the labels of others.",
}
"""What the members of each group may do."""
