"""From a release to answers: schema, predictor."""
